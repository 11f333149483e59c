"""What the figures of a section are made of: a panel per budget, rows per variant, heatmaps, legends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from reports.figures.marks import mark, panel
from reports.figures.numbers import Numbers
from reports.figures.style import fold, look
from reports.tables.comparison import Field

LETTER, LINE, ROW, CELL = 0.072, 0.145, 0.24, 0.31
"""Inches of a small letter, of a line of them, of a row of one line, and of a number in a map."""

WORSE, TIED, BETTER = "#c2410c", "0.45", "#0b6bcb"


def names_width(names: Sequence[str]) -> float:
    """Inches of the longest line of the names as they are folded."""
    return LETTER * max(len(line) for name in names for line in fold(name).split("\n")) + 0.15


def rows_height(names: Sequence[str]) -> float:
    """Inches of a row for each name."""
    lines = max(fold(name).count("\n") + 1 for name in names)
    return max(ROW, LINE * lines + 0.07) * len(names)


def as_high_as_rows(axes: Axes, names: Sequence[str], width: float) -> None:
    """A panel that is as high as its rows need, on top of the room that it has; width in inches."""
    axes.set_box_aspect(rows_height(names) / width)
    axes.set_anchor("N")


def panel_per_budget(
    found: list[Field], seen: list[str], width: float, height: float, names: list[list[str]] | None = None, sharex: bool = True
) -> tuple[Figure, list[Axes]]:
    """A panel per budget, side by side, of which each can stand alone; size in inches without names.

    seen: what is to be seen in each. names: of each panel's rows, to leave room for.
    """
    room = [names_width(of) for of in names] if names else [0.0] * len(found)
    high = max(rows_height(of) for of in names) if names else 0.0
    with sns.axes_style("whitegrid"):
        size = (0.7 + sum(room) + (width + 0.3) * len(found), 0.9 + height + high)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(found), squeeze=False, sharex=sharex)[0]
    for axes, of in zip(grid, names or [], strict=False):
        if rows_height(of) < high:
            as_high_as_rows(axes, of, width)
    for axes, field, text in zip(grid, found, seen, strict=True):
        axes.set_title(f"{field.labels} labelled", loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize="small")
        panel(axes, f"{field.labels} labelled: {text}")
    return figure, list(grid)


def in_order(names: Iterable[str], values: Iterable[float], unit: str = "") -> str:
    """Where the values stand in words: the first three and the last."""
    pairs = [f"{name} {value:.1f}{unit}" for name, value in zip(names, values, strict=True)]
    return ", ".join(pairs) if len(pairs) <= 4 else f"{', '.join(pairs[:3])}, of {len(pairs)}; last {pairs[-1]}"


def name_rows(axes: Axes, names: list[str]) -> None:
    """A name at each row, the first on top."""
    axes.set_yticks(range(len(names)), list(map(fold, names)), fontsize="small")
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        mark(label, name)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def heatmap(axes: Axes, values: np.ndarray, rows: list[str], columns: list[str], zeros: bool = True, **more: Any) -> AxesImage:
    """Colours with rounded numbers, without 0 unless ``zeros``; what has none is hatched."""
    image, numbers = axes.imshow(values, aspect="auto", **more), Numbers(axes)
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.75", linewidth=0))
        elif value or zeros:
            numbers.put(row, column, f"{value:.0f}", ink(tuple(image.cmap(image.norm(value)))))
    name_cells(axes, rows, columns)
    return image


def ink(colour: Sequence[float]) -> str:
    """What can be read on a colour."""
    red, green, blue = colour[:3]
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"


def name_cells(axes: Axes, rows: list[str], columns: list[str]) -> None:
    """Names at the rows and columns of a map."""
    name_rows(axes, rows)
    long = max(map(len, columns)) > 4
    axes.set_xticks(range(len(columns)), list(map(fold, columns)), fontsize="small", rotation=90 if long else 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)


def dot(number: int) -> dict[str, Any]:
    """The look of a variant as a mark without a line."""
    return look(number) | {"linestyle": ""}


def legend(figure: Figure, names: list[str], style: Callable[[int], dict[str, Any]], numbers: dict[str, int]) -> None:
    """Below the panels; ``style`` gives the look of what has a number."""
    handles = [Line2D([], [], label=fold(name, 40), **style(numbers[name])) for name in names]
    wide = max(len(line) for handle in handles for line in str(handle.get_label()).split("\n"))
    columns = max(1, min(len(names), int(figure.get_figwidth() / (LETTER * wide + 0.55))))
    lines = sum(str(handle.get_label()).count("\n") + 1 for handle in handles) / columns
    figure.set_figheight(figure.get_figheight() + 0.2 + 0.16 * lines)
    made = figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize="small", ncols=columns)
    for name, parts in zip(names, zip(made.get_lines(), made.get_texts(), strict=True), strict=True):
        for part in parts:
            mark(part, name)
    panel(made, "marks of the methods")
