"""The leaderboard: one row per method and budget, computed from records alone, and its text forms."""

from __future__ import annotations

import importlib.util
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmark.ground.errors import BadInput
from benchmark.ground.files import write_text
from reports.statistics.random_effects import by_unit, combination, mean, run_spread, units_of
from reports.statistics.resampling import case_scores

if TYPE_CHECKING:
    from benchmark.records.table import Records

COMPARABLE = ["dataset", "protocol", "kind"]
SECTION = [*COMPARABLE, "test_set"]
METHOD = [*COMPARABLE, "labels", "variant"]
OUTCOMES = ("done", "failed", "unfinished")
TUNING = ["tuning_trials", "tuning_steps", "tuning_seconds"]
ROW = [*SECTION, "labels", "variant", "network"]
BUDGET = [*SECTION, "labels"]
INTERVAL = ["dsc_low", "dsc_high", "runs_lacking", "units", "draw0_runs", "draw0_dsc", "draw0_sd"]
METRICS = ["dsc", "hd95", "assd", "nsd"]
COST = ["seconds", "parameters", "passes", "peak_memory_mb"]
TABLE = [
    *[*SECTION, "selection", "labels", "val_labels", "train_cases", "variant", "network"],
    *["dsc", "dsc_low", "dsc_high", "hd95", "assd", "spacing_unit", "nsd", "cases", "missed", "undefined", "structures"],
    *["runs_done", "runs_unconverged", "never_found", "runs_failed", "runs_unfinished", "runs_kept", "runs_lacking", "units"],
    *["draw0_runs", "draw0_dsc", "draw0_sd"],
    *[*COST, *TUNING, "error", "protocol_title"],
]


def leaderboard(records: Records, selection: str = "last", every_network: bool = False) -> pd.DataFrame:
    """One row per dataset, protocol, test set, budget and method variant, best DSC first within a budget.

    dsc, hd95, assd and nsd are means over classes, then the volumes of a case, then cases and runs. dsc and nsd are fractions,
    hd95 and assd are in ``spacing_unit``; dsc_low and dsc_high bound the 95 % interval, over runs and cases (``reports.statistics.random_effects``)
    or, where ``units`` (draws, or seeds of one draw) is 1, over cases alone. Means of a row that lacks runs that others have done
    (``runs_lacking``) are on the scale of all runs: what makes a run hard for all is taken off. draw0_* are the runs of draw 0 alone,
    with the spread between them. Of all ``structures`` (a class in a
    volume in a run) ``missed`` were in only one of prediction and truth, and ``undefined`` in neither: they have no distance.
    seconds, parameters, passes (images through networks per image of a batch, at the end of training) and peak_memory_mb are
    means per run. ``val_labels`` counts the validation cases whose labels the selection used. ``kind`` is "tuned" where `tune`
    found the hyper-parameters, with what that took in trials, steps and seconds, else "run". runs_kept counts finished runs of other code
    that were used as they are. A method whose every run failed
    has a row without scores. Of the runs done, the last weights of ``runs_unconverged`` never predict the classes ``never_found``
    on the validation cases, though they are there: such a row is no statement on the method, and comes last.

    Args:
        records: the tables of a store, finished or not.
        selection: "last" weights, or "val": the best on the validation cases.
        every_network: a row for each network of a method, instead of the reported one alone.

    Raises:
        BadInput: there are no records, or some do not belong into one column (other data, protocol or draw; a run twice).
    """
    records = records.without_trials()
    check_comparable(records.cells)
    cases = reported_cases(records, [*METRICS, "missed"], selection, every_network)
    table = (
        _runs(records.cells)
        .merge(cases[SECTION].drop_duplicates().astype(str), on=COMPARABLE, how="left")
        .merge(_scores(cases), on=[*SECTION, "labels", "variant"], how="left")
        .fillna({"test_set": "-", "network": "-"})
    )
    table["selection"] = selection
    table["val_labels"] = table["val_cases"].fillna(0).astype(int) if selection == "val" else 0
    if selection != "last":
        table = table.assign(runs_unconverged=0, never_found="")
    order = [*SECTION, "labels", "unconverged", "dsc", "variant", "network"]
    table = table.assign(unconverged=table["runs_unconverged"] > 0)
    table = table.sort_values(order, ascending=[column != "dsc" for column in order])
    return table[TABLE].reset_index(drop=True)


def reported_cases(records: Records, metrics: list[str], selection: str = "last", every_network: bool = False) -> pd.DataFrame:
    """The long table of finished runs in these metrics, with each cell's METHOD, draw and seed; of the reported network alone, or of
    every network. Texts are categories, in alphabetical order: of millions of rows, grouping by them takes a third of the time.
    """
    asked = (records.cases["selection"] == selection) & records.cases["metric"].isin(metrics)
    done = records.cells[records.cells["outcome"] == "done"]
    known = done.reindex(columns=["cell", *METHOD, "draw", "seed", "reported"])
    cell = pd.CategoricalDtype(sorted(known["cell"]))
    network = pd.CategoricalDtype(sorted({*records.cases["network"].unique(), *known["reported"].dropna()}))
    texts = dict.fromkeys([*COMPARABLE, "variant"], "category")
    cases = records.cases[asked].astype({"cell": cell, "network": network, "test_set": "category"})
    cases = cases.merge(known.astype(texts | {"cell": cell, "reported": network}), on="cell")
    return cases if every_network else cases[cases["network"] == cases["reported"]]


def titled(cells: pd.DataFrame) -> pd.Series:
    """Each cell's protocol as titles call it: with its rules where the name does not say them. Old records have the name alone."""
    return cells["protocol_title"].fillna(cells["protocol"]) if "protocol_title" in cells else cells["protocol"]


def rows_of(table: pd.DataFrame) -> list[Any]:
    """A table's rows as named tuples."""
    return list(table.itertuples())


def check_comparable(cells: pd.DataFrame) -> None:
    """Refuse records that must not be averaged or compared.

    Raises:
        BadInput: naming what differs and the hashes.
    """
    if cells.empty:
        raise BadInput("the store holds no finished or failed cell, so there is nothing to report; expected records of `run`")
    for what, hashes, same in [
        ("data", "data_hash", ["dataset"]),
        ("rules", "protocol_hash", ["protocol"]),
        ("labelled cases", "draw_hash", ["dataset", "labels", "draw"]),
    ]:
        versions = cells.drop_duplicates([*same, hashes])
        differing = versions[versions.duplicated(same, keep=False)]
        if not differing.empty:
            found = differing[(differing[same] == differing[same].iloc[0]).all(axis=1)]
            values = ", ".join(sorted(found[hashes]))
            raise BadInput(
                f"records of {_place(found, same)} were made with different {what} ({hashes} {values}) and"
                " cannot be compared; keep them in separate stores, or delete the outdated cell folders"
            )
    run = [*METHOD, "draw", "seed"]
    repeated = cells[cells.duplicated(run, keep=False)]
    if not repeated.empty:
        found = repeated[(repeated[run] == repeated[run].iloc[0]).all(axis=1)]
        raise BadInput(
            f"cells {', '.join(sorted(found['cell']))} are all records of {_place(found, run)};"
            " expected one, so delete the outdated cell folders"
        )


def _place(cells: pd.DataFrame, columns: list[str]) -> str:
    return ", ".join(f"{column} {cells[column].iloc[0]}" for column in columns)


def _runs(cells: pd.DataFrame) -> pd.DataFrame:
    """Per METHOD: how many runs are done and failed, why, which classes some never found, and what they cost."""
    titles, never = titled(cells), cells.get("never_predicted", pd.Series(index=cells.index)).map(_names)
    cells = cells.reindex(
        columns=[*METHOD, "outcome", "error", "tuning", *COST, "train_cases", "val_cases", "spacing_unit", "kept"]
    )
    kept = cells["kept"].eq(True) & (cells["outcome"] == "done")
    cells = cells.assign(runs_kept=kept, **{f"runs_{outcome}": cells["outcome"] == outcome for outcome in OUTCOMES})
    cells["protocol_title"] = titles
    cells["never_found"] = never
    cells["runs_unconverged"] = never.map(len) > 0
    for name in TUNING:
        cells[name] = [
            spent[name.removeprefix("tuning_")] if isinstance(spent, dict) else math.nan for spent in cells["tuning"]
        ]
    by_method = cells.groupby(METHOD)
    return pd.concat(
        [
            by_method[[*(f"runs_{outcome}" for outcome in (*OUTCOMES, "kept")), "runs_unconverged"]].sum(),
            by_method["never_found"].agg(lambda found: ", ".join(dict.fromkeys(name for names in found for name in names))),
            by_method[COST].mean(),
            by_method[["train_cases", "val_cases", "spacing_unit", "protocol_title", *TUNING]].first(),
            by_method["error"].agg(lambda errors: "; ".join(sorted(set(errors.dropna())))),
        ],
        axis=1,
    ).reset_index()


def _names(found: Any) -> tuple[str, ...]:
    """The classes that a run never predicts; none where its record does not say."""
    return tuple(found) if isinstance(found, list) else ()


def unconverged_in_words(row: Any) -> str:
    """Which classes some runs of a row never found; empty where there is no such run."""
    if not row.runs_unconverged:
        return ""
    return f"{row.never_found} never found ({row.runs_unconverged} of {row.runs_done} runs): not converged at this length"


def unconverged(records: Records) -> dict[tuple[Any, ...], str]:
    """In words, by METHOD: what has not converged with its last weights."""
    rows = rows_of(_runs(records.cells))
    return {tuple(getattr(row, name) for name in METHOD): words for row in rows if (words := unconverged_in_words(row))}


def _scores(cases: pd.DataFrame) -> pd.DataFrame:
    """Per ROW: mean scores, INTERVAL of DSC, and counts."""
    known = cases[["cell", *METHOD, "draw", "seed"]].drop_duplicates("cell")
    scores = case_scores(cases).merge(known, on="cell")
    means = scores.pivot_table(index=ROW, columns="metric", values="value", observed=True).reindex(columns=METRICS)
    budgets = [
        _budget(part) for _, part in scores.groupby([*BUDGET, "metric"], observed=True) if part["metric"].iloc[0] in METRICS
    ]
    found = pd.concat(budgets) if budgets else pd.DataFrame(columns=[*ROW, "metric", "off", *INTERVAL])
    means += found.pivot_table(index=ROW, columns="metric", values="off", observed=True).reindex(columns=METRICS)
    intervals = found[found["metric"] == "dsc"].set_index(ROW)[INTERVAL]
    missed = cases[cases["metric"] == "missed"].groupby(ROW, observed=True)["value"]
    distances = cases[cases["metric"] == "hd95"].groupby(ROW, observed=True)["value"]
    table = means.join(intervals).assign(
        cases=cases.groupby(ROW, observed=True)["case"].nunique(),
        missed=missed.sum(),
        undefined=distances.size() - distances.count(),
        structures=missed.size(),
    )
    return table.reset_index().astype(dict.fromkeys([*SECTION, "variant", "network"], str))


def _budget(scores: pd.DataFrame) -> pd.DataFrame:
    """Of all rows of a budget in one metric, together: what their means are off by for want of runs, and INTERVAL."""
    where = scores[[*BUDGET, "metric"]].iloc[0].to_dict()
    table = scores.pivot_table(index=["variant", "network"], columns=["draw", "seed", "case"], values="value", observed=True)
    columns: list[Any] = list(table.columns)
    runs = list(dict.fromkeys((int(draw), int(seed)) for draw, seed, _ in columns))
    cases = list(dict.fromkeys(case for *_, case in columns))
    full = table.reindex(columns=pd.MultiIndex.from_tuples([(*run, case) for run in runs for case in cases]))
    values = full.to_numpy().reshape(len(full), len(runs), len(cases))
    units = by_unit(values, units_of(runs))
    of_unit, of_draw_0 = mean(units, 2), mean(values, 2)[:, [draw == 0 for draw, _ in runs]]
    spread = run_spread(of_unit)
    done = ~np.isnan(of_draw_0)
    rows = []
    names: list[Any] = list(full.index)
    for row, ((variant, network), weights) in enumerate(zip(names, np.eye(len(full)), strict=True)):
        found = combination(units, weights, spread)
        low, high = np.clip(found.interval(), 0, 1)
        lacking = int(np.isnan(values[row]).all(1).sum())
        first = of_draw_0[row, done[row]]
        draw_0 = (len(first), first.mean() if len(first) else np.nan, first.std(ddof=1) if len(first) > 1 else np.nan)
        off = spread.adjusted[row] - mean(of_unit, 1)[row]
        rows.append(where | {"variant": variant, "network": network, "off": off})
        rows[-1] |= dict(zip(INTERVAL, (low, high, lacking, found.runs, *draw_0), strict=True))
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Column:
    """A column of the printed tables. ``text`` gets a row of the leaderboard; ``{unit}`` in the header is mm or voxel."""

    header: str
    text: Callable[[Any], str]
    in_terminal: bool = True
    is_name: bool = False


def _number(value: float, digits: int = 0, unit: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}{unit}"


def _interval(row: Any) -> str:
    return "-" if math.isnan(row.dsc_low) else f"[{100 * row.dsc_low:.1f}, {100 * row.dsc_high:.1f}]{cases_only(row.units)}"


def cases_only(units: float) -> str:
    """What stands behind the interval of one run, of which nothing is known of training again."""
    return " cases only" if units == 1 else ""


def _missed(row: Any) -> str:
    return "-" if math.isnan(row.missed) else f"{row.missed:.0f}/{row.structures:.0f}"


def _why_not(row: Any) -> str:
    return "failed" if row.runs_failed else "to do"


def tuning_text(row: Any) -> str:
    """What finding a row's hyper-parameters took; a dash where they are the published ones."""
    if math.isnan(row.tuning_trials):
        return "-"
    return f"{row.tuning_trials:.0f} trials, {row.tuning_steps:.0f} steps, {case_seconds(row.tuning_seconds)}"


def case_seconds(seconds: float) -> str:
    """Seconds of a run as s, min or h."""
    if seconds >= 7200:
        return _number(seconds / 3600, 1, " h")
    return _number(seconds / 60, 0, " min") if seconds >= 120 else _number(seconds, 0, " s")


KEPT, LACKING = "†", "‡"
MARK = "*"
"""Of a score that says nothing on the method, for a run has not converged."""
COLUMNS = [
    Column("Labels", lambda row: f"{row.labels} + {row.val_labels} val" if row.val_labels else str(row.labels)),
    Column("Method", lambda row: row.variant, is_name=True),
    Column("Network", lambda row: row.network, is_name=True, in_terminal=False),
    Column(
        "DSC %",
        lambda row: (
            _number(100 * row.dsc, 1) + MARK * (row.runs_unconverged > 0) + LACKING * (row.runs_lacking > 0)
            if row.runs_done
            else _why_not(row)
        ),
    ),
    Column("95 % CI", _interval),
    Column("HD95 {unit}", lambda row: _number(row.hd95, 1)),
    Column("ASSD {unit}", lambda row: _number(row.assd, 2), in_terminal=False),
    Column("NSD %", lambda row: _number(100 * row.nsd, 1)),
    Column("Missed", _missed),
    Column("Undefined", lambda row: _number(row.undefined), in_terminal=False),
    Column(
        "Runs",
        lambda row: f"{row.runs_done}/{row.runs_done + row.runs_failed + row.runs_unfinished}{KEPT * bool(row.runs_kept)}",
    ),
    Column("Time", lambda row: case_seconds(row.seconds)),
    Column("Parameters", lambda row: _number(row.parameters / 1e6, 2, " M"), in_terminal=False),
    Column("Passes", lambda row: _number(row.passes, 1), in_terminal=False),
    Column("Memory", lambda row: _number(row.peak_memory_mb, 0, " MB"), in_terminal=False),
    Column("Tuning", tuning_text, in_terminal=False),
]
TRACK = {"run": "", "tuned": ", tuned hyper-parameters"}
NOTES = (
    "DSC: mean over classes, volumes of a case, cases and runs; CI: interval over runs and cases (two-way random effects, the"
    " spread of runs pooled over the methods of a budget, the seeds of a draw averaged), or over cases alone where it says so: of one"
    " run, nothing is known of training again. ‡: runs that others have done are missing; scores are on the scale of all runs."
    " Missed: structures in only one of prediction and truth, of all structures; they score DSC 0 and"
    " the volume's diagonal as distance. Undefined: structures in neither, left out of distances. Runs: done, of all asked for."
    " Time, parameters and memory are those of one run; passes: images through networks per image of a batch, in a training step."
    " Tuning: what finding the hyper-parameters of the row took."
)


def _sections(table: pd.DataFrame) -> Iterator[tuple[str, list[Any]]]:
    """A title and the rows of each dataset, protocol and test set."""
    for (dataset, _, kind, test_set), part in table.groupby(SECTION, sort=False):
        protocol = part["protocol_title"].iloc[0]
        counts = sorted({int(count) for count in part["cases"].dropna()})
        size = f"{' or '.join(map(str, counts))} cases" if counts else "no scores"
        yield (
            f"{dataset}: {test_set} ({size}), protocol {protocol}, {part['selection'].iloc[0]} weights{TRACK[str(kind)]}",
            rows_of(part),
        )


def _header(column: Column, rows: list[Any]) -> str:
    return column.header.format(unit=next((row.spacing_unit for row in rows if isinstance(row.spacing_unit, str)), "")).strip()


def _failures(rows: list[Any]) -> list[str]:
    """A line for each method that failed, with its errors; the whole error is in the cell's record."""
    return [
        f"{row.runs_failed} failed: {row.variant}, {row.labels} labelled: {textwrap.shorten(row.error, 200)}"
        for row in rows
        if row.runs_failed
    ]


def lacking_in_words(row: Any) -> str:
    """How many runs a row lacks, and what that means for its scores; empty where it lacks none."""
    if not row.runs_lacking > 0:
        return ""
    return f"lacks {row.runs_lacking:.0f} of the runs that others have done; what made runs hard for all is taken off"


def _marks(rows: list[Any]) -> list[str]:
    """What the signs in a table mean: a line for each row that has not converged or lacks runs, and one on what other code made."""
    lines = [
        f"{MARK} {row.variant}, {row.labels} labelled: {unconverged_in_words(row)}; in no rank and no comparison"
        for row in rows
        if row.runs_unconverged
    ]
    kept = any(row.runs_kept for row in rows)
    lines += [f"{LACKING} {row.variant}, {row.labels} labelled: {words}" for row in rows if (words := lacking_in_words(row))]
    return [*lines, *([f"{KEPT} made by other code than that of the command that used it (--stale keep)"] if kept else [])]


def to_terminal(table: pd.DataFrame) -> Group:
    """The leaderboard's main columns, for rich to print: a table per dataset, protocol and test set."""
    shown = [column for column in COLUMNS if column.in_terminal]
    parts: list[Table | Text] = []
    for title, rows in _sections(table):
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
        for column in shown:
            grid.add_column(
                Text(_header(column, rows)),
                justify="left" if column.is_name else "right",
                no_wrap=not column.is_name,
                overflow="fold",
            )
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            cells = [Text(column.text(row)) for column in shown]  # as Text: the brackets of cctr[rsl=false] are no markup
            ends_budget = following is not None and following.labels != row.labels
            grid.add_row(*cells, end_section=ends_budget, style=None if row.runs_done else "red" if row.runs_failed else "dim")
        notes = [Text(line, style="yellow") for line in _marks(rows)]
        notes += [Text(line, style="red") for line in _failures(rows)]
        parts += [Text(title, style="bold"), grid, *notes, Text()]
    return Group(*parts)


MARKDOWN = str.maketrans({letter: f"\\{letter}" for letter in "\\|`"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def in_markdown(text: str) -> str:
    """Text from records as Markdown shows it: no table ends, no HTML, no link and no picture begins in it."""
    return " ".join(text.translate(MARKDOWN).replace("](", "]\\(").split())


def to_markdown(table: pd.DataFrame) -> str:
    """The leaderboard as Markdown: a table per dataset, protocol and test set, and what its columns mean."""
    lines = ["# Leaderboard", ""]
    for title, rows in _sections(table):
        lines += [f"## {in_markdown(title)}", ""]
        lines.append("| " + " | ".join(_header(column, rows) for column in COLUMNS) + " |")
        lines.append("|" + "|".join(":---" if column.is_name else "---:" for column in COLUMNS) + "|")
        lines += ["| " + " | ".join(in_markdown(column.text(row)) for column in COLUMNS) + " |" for row in rows]
        lines += ["", *(f"- {in_markdown(line)}" for line in [*_marks(rows), *_failures(rows)])]
        if lines[-1]:
            lines.append("")
    return "\n".join([*lines, NOTES, ""])


def to_csv(table: pd.DataFrame) -> str:
    """A table with every column, unrounded, as CSV that no spreadsheet computes."""
    return without_formulas(table).to_csv(index=False)


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text that a spreadsheet would take for a formula."""
    texts = table.select_dtypes(["object", "string"])
    return table.assign(**{str(name): column.map(_harmless) for name, column in texts.items()})


def _harmless(value: Any) -> Any:
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and value != "-" else value
    )


TEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {KEPT: r"\dag{}", LACKING: r"\ddag{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
)


def _in_latex(text: str) -> str:
    return " ".join(text.translate(TEX).split())


def to_latex(table: pd.DataFrame) -> str:
    """The leaderboard's main columns as LaTeX, for booktabs: a table per dataset, protocol and test set."""
    shown = [column for column in COLUMNS if column.in_terminal]
    parts = []
    for title, rows in _sections(table):
        lines = [r"\begin{table}", rf"\caption{{{_in_latex(title)}}}", r"\centering"]
        lines += [rf"\begin{{tabular}}{{{''.join('l' if column.is_name else 'r' for column in shown)}}}", r"\toprule"]
        lines += [" & ".join(_header(column, rows).translate(TEX) for column in shown) + r" \\", r"\midrule"]
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            lines.append(" & ".join(_in_latex(column.text(row)) for column in shown) + r" \\")
            if following is not None and following.labels != row.labels:
                lines.append(r"\addlinespace")
        notes = [rf"\par\footnotesize {_in_latex(line)}" for line in _marks(rows)]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}", ""]))
    return "\n".join(parts)


def can_draw() -> bool:
    """Whether what draws figures is installed; tables need none of it."""
    return all(importlib.util.find_spec(package) for package in ("matplotlib", "seaborn"))


def write_leaderboard(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write leaderboard.csv, .md, .tex and, if any run is done and ``can_draw``, figures/label_efficiency.png, .svg; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    forms = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
    paths = [out / f"leaderboard.{form}" for form in forms]
    for path, text in zip(paths, forms.values(), strict=True):
        write_text(path, text(table))
    if table["dsc"].notna().any() and can_draw():
        from reports.figures.label_efficiency import label_efficiency  # matplotlib is slow to import

        paths += label_efficiency(table, out / "figures" / "label_efficiency")
    return paths
