"""What was compared and what its data can and cannot support, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from reports.page.commands import more_runs
from reports.tables.comparable import SECTION, rows_of, titled
from reports.tables.comparison import BETTER, EQUIVALENT, MARGIN, OPEN, UNTESTED, WORSE, Field, baseline_of, verdict
from reports.tables.label_equivalence import in_words as worth
from reports.tables.leaderboard import OUTCOMES
from reports.tables.rankings import ranks_are_of, resampled
from reports.tables.wording import TRACK, collapsed_in_words, signed

if TYPE_CHECKING:
    from benchmark.records.table import Records


def summary(records: Records, baseline: str) -> list[str]:
    """What was compared and under which rules, in sentences."""
    cells = records.without_trials().cells
    if cells.empty:
        trials = _count(len(records.cells), "trial", "trials")
        return [f"The store holds {trials} of tuning and no run: nothing has been scored on test cases yet."]
    done = cells[cells["outcome"] == "done"]
    counts = {outcome: int((cells["outcome"] == outcome).sum()) for outcome in OUTCOMES}
    runs = done.groupby(["draw", "seed"]).ngroups if len(done) else 0
    first = (
        f"{_count(cells['variant'].nunique(), 'method or variant', 'methods and variants')} on {listed(cells['dataset'])} with"
        f" {listed(cells['labels'])} labelled case{'s' * (set(cells['labels']) != {1})}, protocol {listed(titled(cells))}:"
        f" {_count(counts['done'], 'cell', 'cells')} done in {_count(runs, 'run', 'runs')} (draw, seed)"
        f"{''.join(f', {counts[o]} {o}' for o in OUTCOMES[1:] if counts[o])}."
    )
    if done.empty:
        return [
            first,
            "No run is done, so there is no score and nothing is compared; what failed or is still to do stands below.",
        ]
    rules = (
        "Methods that train have the same steps, batches, augmentation, network sizes and labelled cases; the test cases are read once,"
        " after training. The headline is the last weights; rows of the weights that did best on the validation cases say which labels"
        " that cost."
    )
    variants = set(done["variant"])
    bases = [name for name in (baseline, f"{baseline} (tuned)") if name in variants]
    if not bases:
        return [first, rules, f"{baseline} has not run, so nothing is compared with it."]
    if variants <= set(bases):
        return [first, rules, f"Only {' and '.join(bases)} has run, so there is nothing to compare it with."]
    return [first, rules, f"Comparisons are with {' and '.join(bases)}, on the same cases and the same runs."]


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def listed(values: pd.Series) -> str:
    """The different values in order: a, b and c."""
    unique = [str(value) for value in sorted(values.unique())]
    return unique[0] if len(unique) == 1 else f"{', '.join(unique[:-1])} and {unique[-1]}" if unique else "nothing"


def in_words(found: list[Field], baseline: str, margin: float = MARGIN) -> list[str]:
    """What each budget's data can and cannot support, a sentence or two each."""
    lines = []
    for whole in found:
        field = whole.ranked
        left_out = [f"{variant}: {words}" for variant, words in whole.unconverged.items()]
        if left_out:
            lines.append(f"{_place(field)}, in no rank and no comparison: {'; '.join(left_out)}.")
        if len(field.variants) < 2:
            continue
        cases = len(field.cases)
        lacking = int((~field.done).any(1).sum())
        parts = [
            f"{_place(field)}: {cases} case{'s' * (cases != 1)}, {field.runs_in_words}"
            f"{f', of which {lacking} of {len(field.variants)} methods lack some' * bool(lacking)}."
        ]
        if len({draw for draw, _ in field.runs}) == 1:
            parts.append("One draw says nothing of other labelled cases.")
        against = field.against(baseline_of(baseline, field.section), margin)
        tested = against[against["verdict"] != UNTESTED]
        if len(tested):
            of = tested.groupby("verdict")["variant"].apply(list)
            counts = [_named(word, of.get(word, [])) for word in (BETTER, WORSE)]
            counts += [f"{len(of[EQUIVALENT])} equivalent within {points(margin)}"] if EQUIVALENT in of else []
            counts += [f"{len(of[OPEN])} that cannot be told apart from it"] if OPEN in of else []
            untested = len(against) - len(tested)
            counts += [f"{untested} that cannot be tested, sharing one run with it"] if untested else []
            parts.append(f"Against {baseline}: {', '.join(counts)}.")
            unseen = tested["detectable"].median()
            if unseen >= 1:
                parts.append("No difference is large enough to be mostly seen in so few runs.")
            elif unseen >= 5e-4:
                parts.append(f"Differences below about {100 * unseen:.2g} points would mostly go unseen.")
        elif len(against):
            parts.append(f"Against {baseline}, nothing can be tested: one run says nothing of training again.")
        parts += [_first_two(field, margin), _shares(field)]
        lines.append(" ".join(filter(None, parts)))
    return lines


def of_labels(table: pd.DataFrame, found: list[Field]) -> list[str]:
    """For each budget, how many labels of the baseline the best method is worth; of ``label_equivalence``."""
    lines = []
    for field in found:
        here = _at(table, field)
        if len(here):
            best = rows_of(here)[0]  # best first, as the field
            said = worth(best)
            lines.append(
                f"{_place(field)}: {best.variant} = {best.baseline} with {said} labels, by DSC{' (95 % interval)' * ('[' in said)}."
            )
    return lines


def of_collapsed(board: pd.DataFrame) -> list[str]:
    """For each row with runs that predict nothing, a sentence."""
    return [
        f"{row.dataset}, {row.test_set}, protocol {row.protocol_title}{TRACK[row.kind]}, {row.labels} labelled: {row.variant} {words}."
        for row in rows_of(board)
        if (words := collapsed_in_words(row))
    ]


def of_choices(table: pd.DataFrame, found: list[Field]) -> list[str]:
    """For each budget, what choosing a method by the validation cases costs; of ``regrets``."""
    lines = []
    for field in found:
        for row in rows_of(_at(table, field)):
            lost = f"{100 * row.regret:.1f} points below {row.best}" if row.chosen != row.best else "which is the best"
            lines.append(
                f"{_place(field)}: of {row.methods} methods the validation cases choose {row.chosen}, {lost} on the test cases; those of a"
                f" single run cost {100 * row.one_run:.1f} points on average and choose the best in {100 * row.hits:.0f} % of {row.runs}"
                f" run{'s' * (row.runs != 1)}."
            )
    return lines


def _at(table: pd.DataFrame, field: Field) -> pd.DataFrame:
    """The rows of a field's section and budget."""
    return table[(table[[*SECTION, "labels"]] == [*field.section, field.labels]).all(axis=1)]


def _first_two(field: Field, margin: float) -> str:
    """Whether the first can be told from the second, and what it takes."""
    first, second = field.variants[:2]
    lead, pairs = field.pairs[0, 1], len(field.pairs)
    word = verdict(lead, field.p_values[0, 1], min(1.0, pairs * lead.equivalence_p(margin / 100)))
    low, high = (100 * end for end in lead.interval())
    ahead = f"{signed(100 * lead.value, 1)} points" + (
        f" ({signed(low, 1)} to {signed(high, 1)})" if not math.isnan(low) else ""
    )
    if word == UNTESTED:
        both = "" if field.done[:2].all() else " in the run that both have done"
        return f"First {first}, second {second}, {ahead} for these cases{both}: {word}, one run."
    how = f"p {field.p_values[0, 1]:.2g} after Holm over {pairs} pair{'s' * (pairs != 1)}"
    said = f"{word} within {points(margin)}" if word == EQUIVALENT else f"{word}, {how}"
    if word == OPEN:
        said += f"; if they differ as it seems, {_what_it_takes(field)} with 80 % power"
    return (
        f"First {first}, second {second}, {ahead}: {said}. One more run of both, on these cases, would turn their order with a"
        f" chance of {100 * field.flip(0, 1):.0f} %."
        f" Kendall's tau of the ranking{ranks_are_of(field)} with other {resampled(field)}: {field.ranks.tau:.2f}."
    )


def _what_it_takes(field: Field) -> str:
    """How many more runs or cases would tell the first from the second, as a pair alone."""
    runs, cases = field.needs(0, 1)
    draws = {draw for draw, _ in field.runs}
    unit = "seed" if len(draws) == 1 else "run" if len(draws) == len(field.runs) else "draw"
    if runs == 0:
        return "this pair alone would be told apart"
    command = more_runs(field, field.variants[:2], runs) if runs else None
    typed = f" (in the same store: {command})" if command else ""
    ways = [f"{more} more {what}{'s' * (more != 1)}" for more, what in ((runs, unit), (cases, "case")) if more is not None]
    return (
        f"{' or '.join(ways)} would separate the two{typed}"
        if ways
        else "no affordable number of runs or cases would separate the two"
    )


def _shares(field: Field) -> str:
    """The variance budget as a sentence; empty where there is not enough to tell."""
    shares = field.variance_shares
    if not any(shares.values()):
        return ""
    parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    of = ranks_are_of(field)
    return f"Of the variance of a case's score{',' * bool(of)}{of}: {parts}."


def _named(word: str, variants: list[str]) -> str:
    shown = variants[:3]
    more = f" and {len(variants) - 3} more" if len(variants) > 3 else ""
    return f"{len(variants)} {word}" + (f" ({', '.join(shown)}{more})" if shown else "")


def _place(field: Field) -> str:
    return f"{section_title(field)}, {field.labels} labelled"


def section_title(field: Field) -> str:
    """Dataset, test set, protocol and track, as a person says it."""
    dataset, _, kind, test_set = field.section
    return f"{dataset}, {test_set}, protocol {field.protocol_title}{TRACK[kind]}"


def points(margin: float) -> str:
    """A margin with its unit."""
    return f"{margin:g} point{'s' * (margin != 1)}"
