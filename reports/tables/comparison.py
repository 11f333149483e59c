"""Who is better than whom: paired on the same cases and the same runs, from records alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from reports.statistics.missing_runs import most_together, on_all_runs
from reports.statistics.multiplicity import holm
from reports.statistics.planning import difference_of, flip_probability, variance_shares
from reports.statistics.random_effects import (
    Estimate,
    MeanSquare,
    Part,
    RunSpread,
    by_unit,
    combination,
    estimate,
    mean,
    of_one,
    overlap_of_folds,
    pair,
    run_spread,
    seed_spread,
    units_of,
    weighted,
)
from reports.statistics.resampling import Ranks, better_probability, gap_closed, interquartile_mean, rank_bootstrap
from reports.tables.case_scores import block, case_scores, reported_cases
from reports.tables.comparable import METHOD, SECTION, check_comparable, folds_of, titled
from reports.tables.leaderboard import unconverged

if TYPE_CHECKING:
    from benchmark.records.table import Records

BASELINE = "supervised"
MARGIN = 1.0
"""DSC points within which methods count as equivalent."""

BETTER, WORSE, EQUIVALENT, OPEN, UNTESTED = "better", "worse", "equivalent", "cannot be told apart", "cannot be tested"


def verdict(found: Estimate, p: float, equivalence_p: float, level: float = 0.95) -> str:
    """What a difference comes to, by its adjusted p-values: of no difference, and of one beyond the margin."""
    if not found.testable:
        return UNTESTED
    if p < 1 - level:
        return BETTER if found.value > 0 else WORSE
    return EQUIVALENT if equivalence_p < 1 - level else OPEN


@dataclass(frozen=True)
class Tested:
    """A variant, by name and place, less the baseline: p and equivalence_p are Holm-adjusted over the variants; flip as ``Field.flip``."""

    variant: str
    place: int
    shift: Estimate
    p: float
    equivalence_p: float
    verdict: str
    flip: float


@dataclass(frozen=True)
class Field:
    """Everything that ran at one budget on one test set: scores of each variant for every run and case, of which more is better.

    section: dataset, protocol, kind, test set. scores: (variants, runs, cases) DSC fractions, or another metric, of distances the
    negative; variants best first; NaN where a run of a variant is not done. runs: (draw, seed). protocol_title: the protocol as titles
    call it.
    unconverged: by variant, in words, which classes some of its runs never found. folds: of a cross-validation, how many; 0 where the
    test cases are in no training.
    """

    section: tuple[str, ...]
    labels: int
    variants: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    cases: tuple[str, ...]
    scores: np.ndarray
    protocol_title: str
    unconverged: dict[str, str]
    folds: float = 0.0

    @cached_property
    def ranked(self) -> Field:
        """Of those that have converged alone: what ranks and comparisons are of."""
        keep = [variant not in self.unconverged for variant in self.variants]
        variants = tuple(itertools.compress(self.variants, keep))
        return self if all(keep) else replace(self, variants=variants, scores=self.scores[keep], unconverged={})

    @cached_property
    def means(self) -> np.ndarray:
        """(variants, cases): means over the runs that every variant has done, or over each variant's own where there is none."""
        complete = ~np.isnan(self.scores).all(2).any(0)
        return np.nanmean(self.scores[:, complete] if complete.any() else self.scores, axis=1)

    @cached_property
    def done(self) -> np.ndarray:
        """(variants, runs): whether a variant has done a run."""
        return ~np.isnan(self.scores).all(2)

    @cached_property
    def per_unit(self) -> np.ndarray:
        """(variants, units, cases): as ``scores``, seeds of a draw averaged where there are several draws."""
        return by_unit(self.scores, units_of(self.runs))

    @cached_property
    def spread(self) -> RunSpread:
        """How the variants' run means move."""
        return run_spread(mean(self.per_unit, 2), overlap_of_folds(self.folds))

    @cached_property
    def adjusted(self) -> np.ndarray:
        """(variants,): means on the scale of all runs."""
        return _adjusted(self.per_unit)

    def mean(self, place: int) -> Estimate:
        """Of a variant, by place, over its own runs; ``adjusted`` has the means on the scale of all runs."""
        return combination(self.per_unit, of_one(len(self.variants), place), self.spread)

    def difference(self, first: int, second: int) -> Estimate:
        """Of two variants, by place: first less second over the runs that both have done, DSC fractions."""
        return self._estimate(self._pair(first, second))

    def _estimate(self, part: Part) -> Estimate:
        return estimate(part.scores, part.run, self.spread.overlap)

    def _pair(self, first: int, second: int) -> Part:
        """What ``difference`` is of."""
        both, weights = self.done[first] & self.done[second], pair(len(self.variants), first, second)
        if both.all():
            return weighted(self.per_unit, weights, self.spread)
        units = [unit for unit, done in zip(units_of(self.runs), both, strict=True) if done]
        return weighted(by_unit(self.scores[:, both], units), weights, self.spread)

    def flip(self, first: int, second: int) -> float:
        """The chance that one more run of two variants, on these cases, puts them the other way round; NaN with one run."""
        return self._flip(self._pair(first, second))

    def _flip(self, part: Part) -> float:
        """``flip`` of what ``_pair`` returns."""
        seeds = len(self.runs) / len(set(units_of(self.runs)))
        alone = self.seeds
        seed = MeanSquare(2 * alone.value * (1 - 1 / seeds), alone.df)  # a unit is a mean of seeds, a new run is one
        return flip_probability(part.mean, part.run, len(part.scores), seed)

    @cached_property
    def seeds(self) -> MeanSquare:
        """How a method's means move between the seeds of a draw; 0 where there are no several draws with several seeds."""
        draws = units_of(self.runs)
        return seed_spread(mean(self.scores, 2), draws)

    def needs(self, first: int, second: int) -> tuple[int | None, int | None]:
        """How many more units (draws, or seeds of one draw), or cases, would tell two variants apart with 80 % power; None for never."""
        part = self._pair(first, second)
        known = difference_of(part.scores, part.run)
        return known.needs() if known else (None, None)

    @cached_property
    def together(self) -> Field:
        """Of the variants and runs that say most of ranks (``most_together``): each of the ones has done each of the others."""
        methods, runs = most_together(self.done)
        if methods.all() and runs.all():
            return self
        variants, of = (tuple(itertools.compress(*pair)) for pair in ((self.variants, methods), (self.runs, runs)))
        return replace(self, variants=variants, runs=of, scores=self.scores[methods][:, runs])

    @cached_property
    def ranks(self) -> Ranks:
        """How often each variant of ``together`` takes each rank when other runs and cases are drawn."""
        field = self.together
        return rank_bootstrap(field.per_unit if field.done.all() else field.means[:, None])

    @cached_property
    def rank(self) -> np.ndarray:
        """(variants,): ranks of the means on the scale of all runs; equal ones share a rank."""
        return stats.rankdata(-self.adjusted.round(9))

    @cached_property
    def pairs(self) -> dict[tuple[int, int], Estimate]:
        """The differences of all pairs, the better first where nothing is missing."""
        return {(i, j): self.difference(i, j) for i, j in itertools.combinations(range(len(self.variants)), 2)}

    @cached_property
    def p_values(self) -> np.ndarray:
        """(variants, variants): Holm-adjusted p of all pairs; NaN on the diagonal and where there is one run."""
        adjusted = holm(np.array([found.p for found in self.pairs.values()]))
        table = np.full((len(self.variants),) * 2, np.nan)
        for (i, j), p in zip(self.pairs, adjusted, strict=True):
            table[i, j] = table[j, i] = p
        return table

    @cached_property
    def wins(self) -> np.ndarray:
        """(variants, variants): whether the first is better than the second, by the adjusted p of all pairs."""
        table = np.zeros((len(self.variants),) * 2, dtype=bool)
        for (i, j), found in self.pairs.items():
            if self.p_values[i, j] < 0.05:
                table[(i, j) if found.value > 0 else (j, i)] = True
        return table

    @cached_property
    def rank_ranges(self) -> np.ndarray:
        """(variants, 2): the ranks that each may have if somebody repeats it all: none above those that are better, none below those
        that are worse. All hold together in 95 % of repetitions (Mogstad et al., Rev. Econ. Stud. 2024); NaN where nothing can be tested.
        """
        if not any(found.testable for found in self.pairs.values()):
            return np.full((len(self.variants), 2), np.nan)
        return np.stack([1 + self.wins.sum(0), len(self.variants) - self.wins.sum(1)], axis=1).astype(float)

    @cached_property
    def ranks_by_test(self) -> np.ndarray:
        """(variants,): ranks by how many others each is better than."""
        return stats.rankdata(-self.wins.sum(1))

    def tests(self, baseline: str, margin: float = MARGIN) -> list[Tested]:
        """Each other variant against ``baseline``, over the runs that both have done; empty where it has not run.

        Args:
            margin: DSC points within which two methods count as equivalent.
        """
        if baseline not in self.variants:
            return []
        place = self.variants.index(baseline)
        done = self.done
        others = [i for i in range(len(self.variants)) if i != place and (done[i] & done[place]).any()]
        parts = [self._pair(other, place) for other in others]
        found = [self._estimate(part) for part in parts]
        p = holm(np.array([one.p for one in found]))
        equivalence = holm(np.array([one.equivalence_p(margin / 100) for one in found]))
        return [
            Tested(self.variants[other], other, shift, one, same, verdict(shift, one, same), self._flip(part))
            for other, part, shift, one, same in zip(others, parts, found, p, equivalence, strict=True)
        ]

    def against(self, baseline: str, margin: float = MARGIN) -> pd.DataFrame:
        """``tests`` as a table.

        Columns variant, shift, shift_low, shift_high (DSC fractions), p and equivalence_p (Holm over the variants), verdict, better,
        better_low, better_high (P of a better run), flip (the chance that one more run on these cases turns the order), detectable
        (the difference found with 80 % power), paired_runs, units. With one run the interval is over cases alone, and there is
        neither p nor P of a better run.

        Args:
            margin: DSC points within which two methods count as equivalent.
        """
        rows = []
        for one in self.tests(baseline, margin):
            place, shift = self.variants.index(baseline), one.shift
            both = self.done[one.place] & self.done[place]
            better = (np.nan,) * 3
            if shift.testable:
                better = better_probability(mean(self.scores[one.place, both], 1), mean(self.scores[place, both], 1))
            tested = [one.p, one.equivalence_p, one.verdict]
            unseen = shift.detectable(len(self.variants) - 1)
            rows.append(
                [one.variant, shift.value, *shift.interval(), *tested, *better, one.flip, unseen, int(both.sum()), shift.runs]
            )
        return pd.DataFrame(rows, columns=AGAINST)

    @cached_property
    def variance_shares(self) -> dict[str, float]:
        """Of method, run (draw and seed, where every draw has several seeds), case, their products and the rest, in ``together``;
        empty where it has not two of each.
        """
        field, complete = self.together, self.complete
        if min(complete.shape) < 2:
            return {}
        draws = [[i for i, (draw, _) in enumerate(field.runs) if draw == unit] for unit in dict.fromkeys(units_of(field.runs))]
        seeds = len(field.runs) // len(draws)
        if seeds > 1 and {len(draw) for draw in draws} == {seeds}:
            nested = field.scores[:, np.array(draws)]
            if not np.isnan(nested).any():
                return variance_shares(nested)
        return variance_shares(complete)

    @cached_property
    def complete(self) -> np.ndarray:
        """``per_unit`` of ``together``, of the cases that all of it have; none where no two variants have a run in common."""
        units = self.together.per_unit
        return units[:, :, ~np.isnan(units).any((0, 1))]

    @property
    def runs_in_words(self) -> str:
        """How many draws and seeds stand behind the scores."""
        draws, runs = {draw for draw, _ in self.runs}, len(self.runs)
        if runs == 1:
            return "one run"
        if len(draws) == 1:
            return f"{runs} seeds of draw {min(draws)} alone"
        return f"{runs} runs" if len(draws) == runs else f"{len(draws)} draws with {runs} runs"


AGAINST = [
    *["variant", "shift", "shift_low", "shift_high", "p", "equivalence_p", "verdict"],
    *["better", "better_low", "better_high", "flip", "detectable", "paired_runs", "units"],
]
GAPS = ["variant", "tasks", "runs", "gap", "low", "high"]


def fields(records: Records, selection: str = "last") -> Iterator[Field]:
    """Every budget of every section in which a run is done, by DSC, in the leaderboard's order.

    Raises:
        BadInput: as ``leaderboard``.
    """
    records = records.without_trials()
    check_comparable(records.cells)
    cases = reported_cases(records, ["dsc"], selection)
    known = cases[["cell", *METHOD, "draw", "seed"]].drop_duplicates("cell")
    scores = case_scores(cases).merge(known, on="cell")
    for _, found in fields_of(records, scores, [*SECTION, "labels"], selection):
        yield found


def fields_of(
    records: Records, scores: pd.DataFrame, groups: list[str], selection: str
) -> Iterator[tuple[tuple[Any, ...], Field]]:
    """Each group of the scores, named by its values, as a field.

    Args:
        scores: columns of ``groups``, which begin with SECTION and labels, variant, draw, seed, case, value (more is better).
    """
    words = unconverged(records) if selection == "last" else {}
    titles, folds = dict(zip(records.cells["protocol"], titled(records.cells), strict=True)), folds_of(records.cells)
    parts: Any = scores.groupby(groups, observed=True)
    for key, part in parts:
        *section, labels = key[: len(SECTION) + 1]
        if part["value"].isna().all():
            continue
        made = block(part, ["variant"])
        adjusted = _adjusted(by_unit(made.values, units_of(made.runs)))
        order = pd.Series(adjusted).sort_values(ascending=False, kind="stable").index.to_numpy()
        variants = tuple(str(made.rows[i]) for i in order)
        not_yet = {v: words[where] for v in variants if (where := (*section[:3], int(labels), v)) in words}
        title = titles[section[1]]
        of = folds.get(section[0], 0.0)
        yield key, Field(tuple(section), int(labels), variants, made.runs, made.cases, made.values[order], title, not_yet, of)


def _adjusted(per_unit: np.ndarray) -> np.ndarray:
    """(variants,): means on the scale of all runs, of fractions or, the negative, of distances."""
    means = mean(per_unit, 2)
    return -on_all_runs(-means, np.inf) if (per_unit < 0).any() else on_all_runs(means)


def gaps_closed(found: list[Field], everything: dict[tuple[str, ...], int], baseline: str) -> pd.DataFrame:
    """Over all tasks (section and budget): how much of the way from the baseline with few labels to the baseline with all a variant goes.

    The baseline's mean with few labels is of the runs that a variant has done, too. Only variants that have run on every task which has
    both ends stand in the table, best first: columns variant, tasks, runs, gap, low, high (interquartile mean with 95 % bootstrap
    interval).

    Args:
        everything: the number of training cases of each section, which is the budget of the upper end.
    """
    found = [field.ranked for field in found]
    closed: dict[str, list[np.ndarray]] = {}
    tasks = 0
    ends = {(field.section, field.labels): field for field in found}
    for field in found:
        upper = ends.get((field.section, everything.get(field.section, -1)))
        name = baseline_of(baseline, field.section)
        if upper is None or upper is field or name not in field.variants or name not in upper.variants:
            continue
        tasks += 1
        lower, most = field.variants.index(name), np.nanmean(upper.scores[upper.variants.index(name)])
        for place, variant in enumerate(field.variants):
            both = field.done[place] & field.done[lower]
            if place != lower and both.any():
                own, least = (mean(field.scores[of, both], 1) for of in (place, lower))
                closed.setdefault(variant, []).append(gap_closed(own, least.mean(), most))
    rows = []
    for variant, parts in closed.items():
        if len(parts) == tasks:
            width = max(map(len, parts))
            values = np.array([np.pad(part, (0, width - len(part)), constant_values=np.nan) for part in parts])
            rows.append([variant, tasks, int((~np.isnan(values)).sum()), *interquartile_mean(values)])
    table = pd.DataFrame(rows, columns=GAPS)
    return table[table["gap"].notna()].sort_values("gap", ascending=False, ignore_index=True)


def baseline_of(name: str, section: tuple[str, ...]) -> str:
    """The baseline's variant in a section: tuned ones are compared with the tuned baseline."""
    return f"{name} (tuned)" if section[2] == "tuned" else name
