"""The leaderboard as text: for the terminal and as Markdown."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from reports.tables.comparable import SECTION, rows_of
from reports.tables.escaping import in_markdown
from reports.tables.wording import (
    KEPT,
    LACKING,
    MARK,
    TRACK,
    case_seconds,
    cases_only,
    collapsed_in_words,
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
LEAVES_FIRST = ["Time", "Missed", "NSD %", "HD95 {unit}", "Runs", "95 % CI"]
NAME_WIDTH = 16
"""What a narrow terminal shows no longer, in this order; letters of a name's line that it keeps."""

NOTES = (
    "DSC: mean over classes, volumes of a case, cases and runs; CI: interval over runs and cases (two-way random effects, the"
    " spread of runs pooled over the methods of a budget so far as they move alike, the seeds of a draw averaged), or over cases alone"
    " where it says so: of one run, nothing is known of training again. ‡: runs that others have done are missing; scores are on the"
    " scale of all runs."
    " Missed: structures in only one of prediction and truth, of all structures; they score DSC 0 and"
    " the volume's diagonal as distance. Undefined: structures in neither, left out of distances. Runs: done, of all asked for."
    " Time, parameters and memory are those of one run; passes: images through networks per image of a batch, in a training step."
    " Tuning: what finding the hyper-parameters of the row took."
)


def sections_of(table: pd.DataFrame) -> Iterator[tuple[str, list[Any]]]:
    """A title and the rows of each dataset, protocol and test set."""
    for (dataset, _, kind, test_set), part in table.groupby(SECTION, sort=False):
        protocol = part["protocol_title"].iloc[0]
        counts = sorted({int(count) for count in part["cases"].dropna()})
        size = f"{' or '.join(map(str, counts))} cases" if counts else "no scores"
        yield (
            f"{dataset}: {test_set} ({size}), protocol {protocol}, {part['selection'].iloc[0]} weights{TRACK[str(kind)]}",
            rows_of(part),
        )


def header_of(column: Column, rows: list[Any]) -> str:
    """A column's header with the unit of the rows."""
    return column.header.format(unit=next((row.spacing_unit for row in rows if isinstance(row.spacing_unit, str)), "")).strip()


def _failures(rows: list[Any]) -> list[str]:
    """A line for each method that failed, with its errors; the whole error is in the cell's record."""
    return [
        f"{row.runs_failed} failed: {row.variant}, {row.labels} labelled: {textwrap.shorten(row.error, 200)}"
        for row in rows
        if row.runs_failed
    ]


def marks_of(rows: list[Any]) -> list[str]:
    """What the signs in a table mean: a line for each row that has not converged or lacks runs, and one on what other code made."""
    lines = [
        f"{MARK} {row.variant}, {row.labels} labelled: {unconverged_in_words(row)}; in no rank and no comparison"
        for row in rows
        if row.runs_unconverged
    ]
    lines += [f"{row.variant}, {row.labels} labelled: {words}" for row in rows if (words := collapsed_in_words(row))]
    kept = any(row.runs_kept for row in rows)
    lacking = sorted((row for row in rows if row.runs_lacking > 0), key=lambda row: (row.labels, row.runs_lacking))
    for (labels, _), group in itertools.groupby(lacking, key=lambda row: (row.labels, row.runs_lacking)):
        alike = list(group)
        names = ", ".join(dict.fromkeys(row.variant for row in alike))
        lines.append(f"{LACKING} {names}, {labels} labelled: {lacking_in_words(alike[0], others=len(alike) > 1)}")
    return [*lines, *([f"{KEPT} made by other code than that of the command that used it (--stale keep)"] if kept else [])]


@dataclass(frozen=True)
class Fitted:
    """Rows of the leaderboard in as many columns as the terminal has room for."""

    rows: list[Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown, left_out = [column for column in COLUMNS if column.in_terminal], []
        for header in LEAVES_FIRST:
            if sum(map(self._width, shown)) + len(shown) - 1 <= options.max_width:
                break
            (column,) = (column for column in shown if column.header == header)
            shown.remove(column)
            left_out.append(header_of(column, self.rows))
        yield self._grid(shown)
        if left_out:
            yield Text(f"no room here for {', '.join(left_out)}; leaderboard.md has every column", style="dim")

    def _width(self, column: Column) -> int:
        """Letters that a column needs; a name can be folded."""
        longest = max(len(text) for text in (header_of(column, self.rows), *map(column.text, self.rows)))
        return min(longest, NAME_WIDTH) if column.is_name else longest

    def _grid(self, shown: list[Column]) -> Table:
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
        for column in shown:
            grid.add_column(
                Text(header_of(column, self.rows)),
                justify="left" if column.is_name else "right",
                no_wrap=not column.is_name,
                min_width=self._width(column) if column.is_name else None,
                overflow="fold",
            )
        for row, following in zip(self.rows, [*self.rows[1:], None], strict=True):
            cells = [Text(column.text(row)) for column in shown]  # as Text: the brackets of cctr[rsl=false] are no markup
            ends_budget = following is not None and following.labels != row.labels
            grid.add_row(*cells, end_section=ends_budget, style=None if row.runs_done else "red" if row.runs_failed else "dim")
        return grid


def to_terminal(table: pd.DataFrame) -> Group:
    """The leaderboard's main columns, for rich to print: a table per dataset, protocol and test set."""
    parts: list[Fitted | Text] = []
    for title, rows in sections_of(table):
        notes = [Text(line, style="yellow") for line in marks_of(rows)]
        notes += [Text(line, style="red") for line in _failures(rows)]
        parts += [Text(title, style="bold"), Fitted(rows), *notes, Text()]
    return Group(*parts)


def to_markdown(table: pd.DataFrame) -> str:
    """The leaderboard as Markdown: a table per dataset, protocol and test set, and what its columns mean."""
    lines = ["# Leaderboard", ""]
    for title, rows in sections_of(table):
        lines += [f"## {in_markdown(title)}", ""]
        lines.append("| " + " | ".join(header_of(column, rows) for column in COLUMNS) + " |")
        lines.append("|" + "|".join(":---" if column.is_name else "---:" for column in COLUMNS) + "|")
        lines += ["| " + " | ".join(in_markdown(column.text(row)) for column in COLUMNS) + " |" for row in rows]
        lines += ["", *(f"- {in_markdown(line)}" for line in [*marks_of(rows), *_failures(rows)])]
        if lines[-1]:
            lines.append("")
    return "\n".join([*lines, NOTES, ""])
