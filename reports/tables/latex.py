"""The leaderboard as LaTeX: a table for each budget, for booktabs and longtable; pdflatex and lualatex read it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.tables.comparison import Field
from reports.tables.escaping import in_latex
from reports.tables.leaderboard_forms import COLUMNS, Column, header_of, marks_of, sections_of

LONG, WIDE = 35, 28
"""Rows of a table that breaks over pages; letters of a name that breaks over lines."""

NEEDS = "% needs \\usepackage{booktabs,longtable}, and of pdflatex \\usepackage[T1]{fontenc}\n"
TIED = r"$^{\approx}$"
Place = tuple[Any, ...]


def ties_of(found: Iterable[Field]) -> set[Place]:
    """Section, budget and variant of whatever cannot be told apart from the best of its budget by tests over all pairs."""
    return {
        (*field.section, field.labels, variant)
        for field in (field.ranked for field in found)
        if any(pair.testable for pair in field.pairs.values())
        for place, variant in enumerate(field.variants)
        if place and not field.wins[0, place] and not np.isnan(field.p_values[0, place])
    }


def to_latex(table: pd.DataFrame, tied: Collection[Place] = ()) -> str:
    """The main columns, a table per dataset, protocol, test set and budget; the best DSC is bold.

    tied: of ``ties_of``; they are marked.
    """
    parts = [NEEDS]
    for title, rows in sections_of(table):
        for labels in dict.fromkeys(row.labels for row in rows):
            parts.append(_budget(title, [row for row in rows if row.labels == labels], tied))
    return "\n".join(parts)


def _budget(title: str, rows: list[Any], tied: Collection[Place]) -> str:
    """A budget's table with its notes."""
    shown = [c for c in COLUMNS if c.in_terminal and (c.header != "Labels" or any(row.val_labels for row in rows))]
    best = max((row.dsc for row in rows if row.dsc == row.dsc and not row.runs_unconverged), default=None)
    wide = max(len(row.variant) for row in rows) > WIDE
    lines = [" & ".join(_cell(column, row, best, tied, wide) for column in shown) + r" \\" for row in rows]
    form = "".join((r"p{0.3\textwidth}" if wide else "l") if column.is_name else "r" for column in shown)
    head = " & ".join(in_latex(header_of(column, rows)) for column in shown) + r" \\"
    first = rows[0]
    name = "-".join(map(str, (first.dataset, first.test_set, first.protocol, first.kind, first.labels, first.selection)))
    label = rf"\label{{tab:{re.sub('[^A-Za-z0-9-]+', '-', name)}}}"
    count = f"{first.labels} labelled case{'s' * (first.labels != 1)}"
    caption = rf"\caption{{{in_latex(f'{title}, {count}')}}}{label}"
    notes = [rf"\par\footnotesize {note}" for note in _notes(rows, tied)]
    if len(rows) > LONG:
        start = [r"{\small", rf"\begin{{longtable}}{{{form}}}", caption + r"\\", r"\toprule", head, r"\midrule", r"\endhead"]
        return "\n".join([*start, *lines, r"\bottomrule", r"\end{longtable}", *notes, "}", ""])
    start = [r"\begin{table}", caption, r"\centering\small", rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*start, *lines, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table}", ""])


def _cell(column: Column, row: Any, best: float | None, tied: Collection[Place], wide: bool) -> str:
    text = in_latex(column.text(row))
    if column.is_name:
        return re.sub(r"(\\_|[,=\[])", r"\1\\allowbreak{}", text) if wide else text
    if column.header != "DSC %":
        return text
    place = (row.dataset, row.protocol, row.kind, row.test_set, row.labels, row.variant)
    if best is not None and row.dsc == best and not row.runs_unconverged:
        return rf"\textbf{{{text}}}"
    return text + TIED * (place in tied)


def _notes(rows: Sequence[Any], tied: Collection[Place]) -> list[str]:
    """What the signs and the intervals mean."""
    places = {(row.dataset, row.protocol, row.kind, row.test_set, row.labels, row.variant) for row in rows}
    said = r"CI: 95\,\% over runs and cases, or over cases only where it says so. Bold: highest DSC."
    if places & set(tied):
        said += rf" {TIED}: cannot be told apart from it (Holm over all pairs)."
    return [said, *map(in_latex, marks_of(list(rows)))]
