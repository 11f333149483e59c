"""The leaderboard as text: for the terminal, as Markdown and as LaTeX."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.tables.comparable import SECTION, rows_of
from reports.tables.escaping import TEX, in_latex, in_markdown
from reports.tables.wording import (
    KEPT,
    LACKING,
    MARK,
    TRACK,
    case_seconds,
    cases_only,
    lacking_in_words,
    number,
    tuning_text,
    unconverged_in_words,
)


@dataclass(frozen=True)
class Column:
    """A column of the printed tables. ``text`` gets a row of the leaderboard; ``{unit}`` in the header is mm or voxel."""

    header: str
    text: Callable[[Any], str]
    in_terminal: bool = True
    is_name: bool = False


def _interval(row: Any) -> str:
    return "-" if math.isnan(row.dsc_low) else f"[{100 * row.dsc_low:.1f}, {100 * row.dsc_high:.1f}]{cases_only(row.units)}"


def _missed(row: Any) -> str:
    return "-" if math.isnan(row.missed) else f"{row.missed:.0f}/{row.structures:.0f}"


def _why_not(row: Any) -> str:
    return "failed" if row.runs_failed else "to do"


COLUMNS = [
    Column("Labels", lambda row: f"{row.labels} + {row.val_labels} val" if row.val_labels else str(row.labels)),
    Column("Method", lambda row: row.variant, is_name=True),
    Column("Network", lambda row: row.network, is_name=True, in_terminal=False),
    Column(
        "DSC %",
        lambda row: (
            number(100 * row.dsc, 1) + MARK * (row.runs_unconverged > 0) + LACKING * (row.runs_lacking > 0)
            if row.runs_done
            else _why_not(row)
        ),
    ),
    Column("95 % CI", _interval),
    Column("HD95 {unit}", lambda row: number(row.hd95, 1)),
    Column("ASSD {unit}", lambda row: number(row.assd, 2), in_terminal=False),
    Column("NSD %", lambda row: number(100 * row.nsd, 1)),
    Column("Missed", _missed),
    Column("Undefined", lambda row: number(row.undefined), in_terminal=False),
    Column(
        "Runs",
        lambda row: f"{row.runs_done}/{row.runs_done + row.runs_failed + row.runs_unfinished}{KEPT * bool(row.runs_kept)}",
    ),
    Column("Time", lambda row: case_seconds(row.seconds)),
    Column("Parameters", lambda row: number(row.parameters / 1e6, 2, " M"), in_terminal=False),
    Column("Passes", lambda row: number(row.passes, 1), in_terminal=False),
    Column("Memory", lambda row: number(row.peak_memory_mb, 0, " MB"), in_terminal=False),
    Column("Tuning", tuning_text, in_terminal=False),
]
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


def to_latex(table: pd.DataFrame) -> str:
    """The leaderboard's main columns as LaTeX, for booktabs: a table per dataset, protocol and test set."""
    shown = [column for column in COLUMNS if column.in_terminal]
    parts = []
    for title, rows in _sections(table):
        lines = [r"\begin{table}", rf"\caption{{{in_latex(title)}}}", r"\centering"]
        lines += [rf"\begin{{tabular}}{{{''.join('l' if column.is_name else 'r' for column in shown)}}}", r"\toprule"]
        lines += [" & ".join(_header(column, rows).translate(TEX) for column in shown) + r" \\", r"\midrule"]
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            lines.append(" & ".join(in_latex(column.text(row)) for column in shown) + r" \\")
            if following is not None and following.labels != row.labels:
                lines.append(r"\addlinespace")
        notes = [rf"\par\footnotesize {in_latex(line)}" for line in _marks(rows)]
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}", ""]))
    return "\n".join(parts)
