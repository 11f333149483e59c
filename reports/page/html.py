"""The report as one HTML file: opens offline, needs nothing beside it, is the same bytes for the same records."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from reports.tables.comparison import BETTER, EQUIVALENT, MARGIN, OPEN, UNTESTED, WORSE, Field, baseline_of, verdict
from reports.tables.leaderboard import (
    METRICS,
    NOTES,
    OUTCOMES,
    SECTION,
    TRACK,
    case_seconds,
    cases_only,
    lacking_in_words,
    reported_cases,
    rows_of,
    titled,
    tuning_text,
    unconverged_in_words,
)
from reports.tables.published import published_for

if TYPE_CHECKING:
    from benchmark.records.table import Records

TEMPLATES = Path(__file__).with_name("templates")
ALL_CLASSES = "mean"
TRACKS = {"run": "published values", "tuned": "tuned"}


@dataclass(frozen=True)
class Column:
    """A column of the page's table: where its value comes from, and how it is shown. An empty header is carried for filters alone."""

    key: str
    header: str
    kind: str = "number"
    digits: int | None = None
    more_is_better: bool = False
    help: str = ""
    sort: str | None = None


COLUMNS = [
    Column("method", "Method", "name"),
    Column("labels", "Labels", digits=0, help="labelled training cases"),
    Column("class", "Class", "text"),
    Column("dsc", "DSC %", digits=1, more_is_better=True),
    Column("interval", "95 % CI", "text", sort="dsc", help="over runs and cases; over cases only where one run is done"),
    Column(
        "ranks",
        "Ranks",
        "text",
        sort="rank",
        help="rank of the mean, and the ranks it may have if somebody trains and tests again (95 %, all methods together)",
    ),
    Column("rank", ""),
    Column(
        "shift",
        "vs baseline",
        "text",
        sort="shift_value",
        help="difference in DSC points with its 95 % interval over runs and cases",
    ),
    Column("shift_value", ""),
    Column(
        "judged",
        "Verdict",
        "text",
        help="against the baseline, with p adjusted for the number of methods (Holm); equivalent: within the margin (two one-sided tests)",
    ),
    Column("better", "P(better)", digits=2, more_is_better=True, help="share of paired runs that beat the baseline's"),
    Column("hd95", "HD95", digits=1),
    Column("assd", "ASSD", digits=2),
    Column("unit", "Unit", "text"),
    Column("nsd", "NSD %", digits=1, more_is_better=True),
    Column("missed", "Missed", "text", sort="missed_share", help="structures in only one of prediction and truth"),
    Column("missed_share", ""),
    Column("note", "Note", "text", help="rows with a class that some runs never find are in no rank and no comparison"),
    Column("used", "Labels used", "text", help="labelled cases, and those whose labels chose the weights"),
    Column("runs", "Runs", "text", help="done, of all asked for"),
    Column("network", "Network", "text"),
    Column("parameters", "Parameters, M", digits=2),
    Column("passes", "Passes", digits=1, help="images through networks per image of a batch, in a training step"),
    Column("time", "Time", "text", sort="seconds"),
    Column("seconds", ""),
    Column("memory", "Memory, MB", digits=0),
    Column("tuning", "Tuning", "text", help="what finding the hyper-parameters took"),
    Column("published", "Published DSC %", "text long"),
    Column("verdict", "Against published", "text"),
    Column("dataset", "Dataset", "text"),
    Column("protocol", "Protocol", "text"),
    Column("test_set", "Test set", "text"),
    Column("selection", "Weights", "text"),
    Column("track", "Track", "text"),
]
FILTERS = [
    ("dataset", "Dataset", None),
    ("labels", "Labels", None),
    ("test_set", "Test set", None),
    ("class", "Class", ALL_CLASSES),
    ("track", "Hyper-parameters", None),
    ("protocol", "Protocol", None),
    ("selection", "Weights", "last"),
]
METRIC_COLUMNS = {
    "DSC": ["dsc", "interval", "ranks", "shift", "judged", "better"],
    "HD95": ["hd95"],
    "ASSD": ["assd"],
    "NSD": ["nsd"],
}


def table_rows(
    records: Records, baseline: str, board: pd.DataFrame, found: list[Field], margin: float = MARGIN
) -> list[list[Any]]:
    """The page's rows of a leaderboard, a list of values in the order of COLUMNS each: one per method and budget, then one per class."""
    rows: list[dict[str, Any]] = []
    compared = _compared(found, baseline, margin)
    classes = _by_class(records, board["selection"].iloc[0]) if len(board) else {}
    for row in rows_of(board):
        key = (row.dataset, row.protocol, row.kind, row.test_set, row.labels, row.variant)
        rows.append(_row(row) | compared.get(key, {}))
        rows += [rows[-1] | EMPTY | scores for scores in classes.get(key, [])]
    return [[_plain(row.get(column.key)) for column in COLUMNS] for row in rows]


EMPTY = dict.fromkeys(
    ["interval", "ranks", "rank", "shift", "shift_value", "judged", "better", "missed", "missed_share", "published", "verdict"]
)


def _plain(value: Any) -> Any:
    """A value that JSON can hold; numbers to six digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _row(row: Any) -> dict[str, Any]:
    """A row of the leaderboard in the page's terms."""
    claims = published_for(row)
    asked = row.runs_done + row.runs_failed + row.runs_unfinished
    scored = not math.isnan(row.dsc)
    return {
        **{name: getattr(row, name) for name in ("dataset", "test_set", "selection", "network", "passes", "seconds")},
        **{"method": row.variant, "labels": int(row.labels), "class": ALL_CLASSES, "track": TRACKS[row.kind]},
        "protocol": row.protocol_title,
        **{
            "dsc": 100 * row.dsc,
            "nsd": 100 * row.nsd,
            "hd95": float(row.hd95),
            "assd": float(row.assd),
            "unit": row.spacing_unit,
        },
        "interval": f"{100 * row.dsc_low:.1f} to {100 * row.dsc_high:.1f}{cases_only(row.units)}"
        if not math.isnan(row.dsc_low)
        else None,
        "missed": f"{row.missed:.0f}/{row.structures:.0f}" if scored else None,
        "missed_share": row.missed / row.structures if scored else None,
        "note": "; ".join(filter(None, [unconverged_in_words(row), lacking_in_words(row)])) or None,
        "used": f"{row.labels} + {row.val_labels} val" if row.val_labels else str(row.labels),
        "runs": f"{row.runs_done}/{asked}"
        + (f", {row.runs_failed} failed" if row.runs_failed else "")
        + (f", {row.runs_kept} of other code" if row.runs_kept else ""),
        "parameters": row.parameters / 1e6,
        "time": case_seconds(row.seconds),
        "memory": row.peak_memory_mb,
        "tuning": tuning_text(row),
        "published": "; ".join(map(str, claims)) or None,
        "verdict": claims[0].verdict(row) if claims and scored else None,
    }


def _compared(fields: list[Field], baseline: str, margin: float) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Ranks, and the comparison with the baseline, by section, budget and variant."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for field in (field.ranked for field in fields if field.ranked.variants):
        against = field.against(baseline_of(baseline, field.section), margin).set_index("variant")
        for i, variant in enumerate(field.variants):
            values: dict[str, Any] = {"rank": float(field.rank[i])}
            low, high = field.rank_ranges[i]
            values["ranks"] = f"{field.rank[i]:g} " + ("(one run)" if math.isnan(low) else f"({low:g} to {high:g})")
            if variant in against.index:
                row: Any = against.loc[variant]
                values["shift"] = f"{100 * row['shift']:+.1f}" + (
                    f" ({100 * row['shift_low']:+.1f} to {100 * row['shift_high']:+.1f}{cases_only(row['units'])})"
                    if not math.isnan(row["shift_low"])
                    else ""
                )
                values |= {"shift_value": float(row["shift"]), "better": float(row["better"])}
                values["judged"] = _judged(row["verdict"], row["p"], margin) + _of_one_draw(field)
            found[(*field.section, field.labels, variant)] = values
    return found


def _judged(word: str, p: float, margin: float) -> str:
    if word == UNTESTED:
        return f"{word}: one run"
    return f"{word} within {_points(margin)}" if word == EQUIVALENT else f"{word} (p {p:.2g})"


def _of_one_draw(field: Field) -> str:
    """What seeds of one draw cannot speak beyond; empty where there is one run or several draws."""
    draws = {draw for draw, _ in field.runs}
    return f", on draw {min(draws)} alone" if len(draws) == 1 < len(field.runs) else ""


def _points(margin: float) -> str:
    return f"{margin:g} point{'s' * (margin != 1)}"


def _by_class(records: Records, selection: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Mean scores of each class, by section, budget and variant."""
    cases = reported_cases(records.without_trials(), METRICS, selection)
    key = [*SECTION, "labels", "variant"]
    case = cases.groupby([*key, "class", "metric", "cell", "case"], observed=True)["value"].mean()
    means = case.groupby([*key, "class", "metric"], observed=True).mean().unstack("metric")
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for index, row in means.reindex(columns=METRICS).iterrows():
        *where, name = index if isinstance(index, tuple) else (index,)
        values = {
            "class": str(name),
            "dsc": 100 * row["dsc"],
            "nsd": 100 * row["nsd"],
            "hd95": row["hd95"],
            "assd": row["assd"],
        }
        found.setdefault(tuple(where), []).append({k: v if isinstance(v, str) else float(v) for k, v in values.items()})
    return found


def summary(records: Records, baseline: str) -> list[str]:
    """What was compared and under which rules, in sentences."""
    cells = records.without_trials().cells
    done = cells[cells["outcome"] == "done"]
    counts = {outcome: int((cells["outcome"] == outcome).sum()) for outcome in OUTCOMES}
    runs = done.groupby(["draw", "seed"]).ngroups if len(done) else 0
    first = (
        f"{cells['variant'].nunique()} methods and variants on {_listed(cells['dataset'])} with {_listed(cells['labels'])} labelled"
        f" cases, protocol {_listed(titled(cells))}: {counts['done']} cells done in {runs} run{'s' * (runs != 1)} (draw, seed)"
        f"{''.join(f', {counts[o]} {o}' for o in OUTCOMES[1:] if counts[o])}."
    )
    rules = (
        "Every method, supervised-only included, had the same steps, batches, augmentation, network sizes and labelled cases; the test"
        " cases were read once, after training. The headline is the last weights; rows of the weights that did best on the validation"
        " cases say which labels that cost."
    )
    ran = baseline in set(done["variant"])
    compared = f"Comparisons are with {baseline}, on the same cases and the same runs."
    return [first, rules, compared if ran else f"{baseline} has not run, so nothing is compared with it."]


def _listed(values: pd.Series) -> str:
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
        parts = [f"{_place(field)}: {cases} case{'s' * (cases != 1)}, {field.runs_in_words}."]
        if len({draw for draw, _ in field.runs}) == 1:
            parts.append("One draw says nothing of other labelled cases.")
        against = field.against(baseline_of(baseline, field.section), margin)
        tested = against[against["verdict"] != UNTESTED]
        if len(tested):
            of = tested.groupby("verdict")["variant"].apply(list)
            counts = [_named(word, of.get(word, [])) for word in (BETTER, WORSE)]
            counts += [f"{len(of[EQUIVALENT])} equivalent within {_points(margin)}"] if EQUIVALENT in of else []
            counts += [f"{len(of[OPEN])} that cannot be told apart from it"] if OPEN in of else []
            parts.append(f"Against {baseline}: {', '.join(counts)}.")
            unseen = tested["detectable"].median()
            if unseen >= 5e-4:
                parts.append(f"Differences below about {100 * unseen:.2g} points would mostly go unseen.")
        elif len(against):
            parts.append(f"Against {baseline}, nothing can be tested: one run says nothing of training again.")
        parts += [_first_two(field, margin), _shares(field)]
        lines.append(" ".join(filter(None, parts)))
    return lines


def _first_two(field: Field, margin: float) -> str:
    """Whether the first can be told from the second, and what it takes."""
    first, second = field.variants[:2]
    lead, pairs = field.pairs[0, 1], len(field.pairs)
    word = verdict(lead, field.p_values[0, 1], min(1.0, pairs * lead.equivalence_p(margin / 100)))
    low, high = (100 * end for end in lead.interval())
    ahead = f"{100 * lead.value:+.1f} points" + (f" ({low:+.1f} to {high:+.1f})" if not math.isnan(low) else "")
    if word == UNTESTED:
        return f"First {first}, second {second}, {ahead} for these cases: {word}, one run."
    how = f"p {field.p_values[0, 1]:.2g} after Holm over {pairs} pair{'s' * (pairs != 1)}"
    said = f"{word} within {_points(margin)}" if word == EQUIVALENT else f"{word}, {how}"
    if word == OPEN:
        said += f"; if they differ as it seems, {_what_it_takes(field)} with 80 % power"
    return (
        f"First {first}, second {second}, {ahead}: {said}."
        f" Kendall's tau of the ranking with other runs and cases: {field.ranks.tau:.2f}."
    )


def _what_it_takes(field: Field) -> str:
    """How many more runs or cases would tell the first from the second, as a pair alone."""
    runs, cases = field.needs(0, 1)
    draws = {draw for draw, _ in field.runs}
    unit = "seed" if len(draws) == 1 else "run" if len(draws) == len(field.runs) else "draw"
    if runs == 0:
        return "this pair alone would be told apart"
    ways = [f"{more} more {what}{'s' * (more != 1)}" for more, what in ((runs, unit), (cases, "case")) if more is not None]
    return (
        f"{' or '.join(ways)} would separate the two"
        if ways
        else "no affordable number of runs or cases would separate the two"
    )


def _shares(field: Field) -> str:
    """The variance budget as a sentence; empty where there is not enough to tell."""
    shares = field.variance_shares
    if not any(shares.values()):
        return ""
    parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    return f"Of the variance of a case's score: {parts}."


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


def picture(png: bytes) -> str:
    """A PNG as a data URI, made small: few colours are enough for a plot."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        small, "PNG"
    )
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def page(
    records: Records,
    baseline: str,
    rows: list[list[Any]],
    found: list[Field],
    sections: list[dict[str, Any]],
    tuning: list[dict[str, str]],
    margin: float = MARGIN,
) -> str:
    """The whole page.

    rows: of ``table_rows``. found: what was compared, by the last weights. sections: title and figures (caption, source) of each; tuning:
    figures. margin: DSC points within which methods count as equivalent.
    """
    data = {
        "columns": [
            {k: v for k, v in vars(column).items() if v not in (None, "")} | {"header": column.header} for column in COLUMNS
        ],
        "rows": rows,
        "filters": [{"key": key, "title": title, "start": start} for key, title, start in FILTERS],
        "metrics": METRIC_COLUMNS,
    }
    cells = records.without_trials().cells
    problems = cells[cells["outcome"] != "done"].reindex(
        columns=["variant", "dataset", "labels", "draw", "seed", "outcome", "error"]
    )
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html").render(
        title="Semi-supervised segmentation: leaderboard",
        summary=summary(records, baseline),
        words=[*in_words(found, baseline, margin), *(f"{note}." for note in records.notes)],
        notes=NOTES,
        sections=sections,
        tuning=tuning,
        problems=problems.fillna({"error": ""}).to_dict("records"),
        colophon=f"Code {_listed(cells['code_hash'].dropna())}; data {_listed(cells['data_hash'].dropna())}.",
        data=json.dumps(data, separators=(",", ":"), default=_number).replace("<", "\\u003c"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
