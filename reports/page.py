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

from reports.comparison import Field, baseline_of
from reports.leaderboard import (
    METRICS,
    NOTES,
    OUTCOMES,
    SECTION,
    TRACK,
    case_seconds,
    reported_cases,
    rows_of,
    titled,
    tuning_text,
    unconverged_in_words,
)
from reports.published import published_for
from reports.statistics import smallest_p

if TYPE_CHECKING:
    from benchmark.records import Records

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
    Column("interval", "95 % CI", "text", sort="dsc", help="crossed bootstrap over runs and cases"),
    Column(
        "ranks",
        "Ranks",
        "text",
        sort="rank",
        help="rank of the mean over the runs that all have done, and its 95 % range when other cases are drawn",
    ),
    Column("rank", ""),
    Column(
        "shift",
        "vs baseline",
        "text",
        sort="shift_value",
        help="Hodges-Lehmann shift in DSC points, with Holm-adjusted Wilcoxon p",
    ),
    Column("shift_value", ""),
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
    "DSC": ["dsc", "interval", "ranks", "shift", "better"],
    "HD95": ["hd95"],
    "ASSD": ["assd"],
    "NSD": ["nsd"],
}


def table_rows(records: Records, baseline: str, board: pd.DataFrame, found: list[Field]) -> list[list[Any]]:
    """The page's rows of a leaderboard, a list of values in the order of COLUMNS each: one per method and budget, then one per class."""
    rows: list[dict[str, Any]] = []
    compared = _compared(found, baseline)
    classes = _by_class(records, board["selection"].iloc[0]) if len(board) else {}
    for row in rows_of(board):
        key = (row.dataset, row.protocol, row.kind, row.test_set, row.labels, row.variant)
        rows.append(_row(row) | compared.get(key, {}))
        rows += [rows[-1] | EMPTY | scores for scores in classes.get(key, [])]
    return [[_plain(row.get(column.key)) for column in COLUMNS] for row in rows]


EMPTY = dict.fromkeys(
    ["interval", "ranks", "rank", "shift", "shift_value", "better", "missed", "missed_share", "published", "verdict"]
)


def _plain(value: Any) -> Any:
    """A value that JSON can hold; numbers to six digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _row(row: Any) -> dict[str, Any]:
    """A row of the leaderboard in the page's terms."""
    claim = published_for(row)
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
        "interval": f"{100 * row.dsc_low:.1f} to {100 * row.dsc_high:.1f}" if not math.isnan(row.dsc_low) else None,
        "missed": f"{row.missed:.0f}/{row.structures:.0f}" if scored else None,
        "missed_share": row.missed / row.structures if scored else None,
        "note": unconverged_in_words(row) or None,
        "used": f"{row.labels} + {row.val_labels} val" if row.val_labels else str(row.labels),
        "runs": f"{row.runs_done}/{asked}"
        + (f", {row.runs_failed} failed" if row.runs_failed else "")
        + (f", {row.runs_kept} of other code" if row.runs_kept else ""),
        "parameters": row.parameters / 1e6,
        "time": case_seconds(row.seconds),
        "memory": row.peak_memory_mb,
        "tuning": tuning_text(row),
        "published": str(claim) if claim else None,
        "verdict": claim.verdict(row) if claim and scored else None,
    }


def _compared(fields: list[Field], baseline: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Ranks, and the comparison with the baseline, by section, budget and variant."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for field in (field.ranked for field in fields if field.ranked.variants):
        against = field.against(baseline_of(baseline, field.section)).set_index("variant")
        for i, variant in enumerate(field.variants):
            ranks = field.ranks
            values: dict[str, Any] = {"rank": float(ranks.rank[i])}
            values["ranks"] = f"{ranks.rank[i]:g} ({ranks.low[i]:g} to {ranks.high[i]:g})"
            if variant in against.index:
                row: Any = against.loc[variant]
                values |= {"shift": f"{100 * row['shift']:+.1f} (p {row['p']:.2g})", "shift_value": float(row["shift"])}
                values["better"] = float(row["better"])
            found[(*field.section, field.labels, variant)] = values
    return found


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


def in_words(found: list[Field], baseline: str) -> list[str]:
    """What each budget's data can and cannot support, a sentence or two each."""
    lines = []
    for whole in found:
        field = whole.ranked
        left_out = [f"{variant}: {words}" for variant, words in whole.unconverged.items()]
        if left_out:
            lines.append(f"{_place(field)}, in no rank and no comparison: {'; '.join(left_out)}.")
        if len(field.variants) < 2:
            continue
        others, cases, runs = len(field.variants) - 1, len(field.cases), len(field.runs)
        line = f"{_place(field)}: {cases} case{'s' * (cases != 1)}, {runs} run{'s' * (runs != 1)}. "
        if smallest_p(cases) * others > 0.05:
            line += f"With {cases} cases and {others} comparisons no Wilcoxon test can fall below p = .05 after Holm, whatever is true. "
        else:
            against = field.against(baseline_of(baseline, field.section))
            better = against[(against["p"] < 0.05) & (against["shift"] > 0)]["variant"]
            worse = against[(against["p"] < 0.05) & (against["shift"] < 0)]["variant"]
            ties = len(against) - len(better) - len(worse)
            if len(against):
                line += f"Against {baseline}: {_named('better', better)}, {_named('worse', worse)}, {ties} tied. "
                found_from = against["detectable"].median()
                if math.isfinite(found_from):
                    line += f"Differences below about {100 * found_from:.0f} points would mostly go unseen. "
        first, second = field.variants[:2]
        p = field.p_values[0, 1]
        verdict = "a tie" if not p < 0.05 else f"p = {p:.2g} after Holm over all pairs"
        line += (
            f"First {first}, second {second}: {verdict}. Kendall's tau of the ranking with other cases: {field.ranks.tau:.2f}. "
        )
        if runs < 5:
            line += "That few runs say little of what training again would give."
        lines.append(line.strip())
    return lines


def _named(verdict: str, variants: pd.Series) -> str:
    shown = list(variants[:3])
    more = f" and {len(variants) - 3} more" if len(variants) > 3 else ""
    return f"{len(variants)} {verdict}" + (f" ({', '.join(shown)}{more})" if shown else "")


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
) -> str:
    """The whole page.

    rows: of ``table_rows``. found: what was compared, by the last weights. sections: title and figures (caption, source) of each; tuning:
    figures.
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
        words=[*in_words(found, baseline), *(f"{note}." for note in records.notes)],
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
