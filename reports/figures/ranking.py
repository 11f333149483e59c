"""One budget's ranks, and who differs from whom."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure

from reports.figures.marks import panel
from reports.figures.numbers import Numbers
from reports.figures.panels import BETTER, CELL, WORSE, as_high_as_rows, heatmap, ink, name_cells, names_width, rows_height
from reports.tables.comparison import Field

LEVEL = 0.05
OPEN, SELF = "#eceef1", "#9aa0a8"


def ranking(field: Field) -> Figure:
    """How often each variant takes each rank when other runs and cases are drawn, and which pairs differ, with direction.

    In the second map a row is held against a column: above the diagonal, where the row has the higher mean, by how many points; below it,
    the Holm-adjusted p. Colours say whether the row is better or worse at .05.
    """
    size, names, ranked = len(field.variants), list(field.variants), list(field.together.variants)
    room, high = names_width(names), rows_height(names)
    wide = [CELL * len(ranked), CELL * size]
    with sns.axes_style("white"):
        figure = Figure(figsize=(2 * room + sum(wide) + 1.0, high + room + 1.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=wide)
    if len(ranked) < size:
        as_high_as_rows(left, ranked, wide[0])
    shares = np.round(100 * field.ranks.frequency)
    heatmap(left, shares, ranked, list(map(str, range(1, len(ranked) + 1))), zeros=False, cmap="Blues", vmin=0, vmax=100)
    left.set_title("how often (%) at each rank", loc="left", fontsize="medium")
    first = shares[:, 0]
    leaders = ", ".join(f"{ranked[i]} {first[i]:.0f} %" for i in np.argsort(-first, kind="stable")[:3] if first[i])
    panel(left, f"{field.labels} labelled, how often at rank 1: {leaders}.")
    _pairs(right, field, names)
    figure.suptitle(f"{field.labels} labelled", x=0.01, ha="left", fontsize="medium")
    return figure


def _pairs(axes: Axes, field: Field, names: list[str]) -> None:
    """Who differs from whom."""
    size, better = len(names), field.wins.astype(int)
    verdicts = better - better.T + 1
    np.fill_diagonal(verdicts, 3)
    colours = [WORSE, OPEN, BETTER, SELF]
    axes.imshow(verdicts, aspect="auto", cmap=ListedColormap(colours), vmin=0, vmax=3)
    numbers = Numbers(axes)
    for (first, second), found in field.pairs.items():
        p = field.p_values[first, second]
        told = "one run, cannot be tested" if np.isnan(p) else f"p {p:.2g}"
        said = f"{names[first]} less {names[second]}: {100 * found.value:+.1f} points, {told}"
        for row, column, text in ((first, second, f"{100 * found.value:+.1f}"), (second, first, _short(p))):
            numbers.put(row, column, text, ink(to_rgb(colours[verdicts[row, column]])), names[row], said)
    name_cells(axes, names, names)
    axes.set_title("points (above), p (below the diagonal)", loc="left", fontsize="medium")
    wins = int(better.sum())
    panel(axes, f"{field.labels} labelled, row against column: {wins} of {size * (size - 1) // 2} pairs differ at .05 (Holm).")


def _short(p: float) -> str:
    """A p-value in three signs."""
    if np.isnan(p):
        return "–"
    return "<.001" if p < 0.001 else "1" if p > 0.995 else f"{p:.3f}"[1:] if p < 0.1 else f"{p:.2f}"[1:]
