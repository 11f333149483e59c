"""What the figures of a section are made of: a panel per budget, rows per variant, heatmaps, legends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from reports.figures.style import look
from reports.tables.comparison import Field

ROW_HEIGHT = 0.24
WORSE, TIED, BETTER = "#d55e00", "0.55", "#0173b2"
READABLE = 200
"""Numbers in a heatmap; beyond that, colours alone."""


def panel_per_budget(found: list[Field], width: float, height: float, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """A panel per budget, side by side."""
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(1.8 + width * len(found), 0.9 + height), layout="constrained")
        grid = figure.subplots(1, len(found), squeeze=False, sharex=sharex)[0]
    for axes, field in zip(grid, found, strict=True):
        axes.set_title(f"{field.labels} labelled", loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid)


def name_rows(axes: Axes, names: list[str]) -> None:
    """A name at each row, the first on top."""
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def heatmap(axes: Axes, values: np.ndarray, rows: list[str], columns: list[str], form: str = ".0f", **more: Any) -> AxesImage:
    """Colours, with numbers where they can be read: not zeros, and none at all in a large table."""
    image = axes.imshow(values, aspect="auto", **more)
    if np.count_nonzero(values) <= READABLE:
        for (row, column), value in np.ndenumerate(values):
            if value and not np.isnan(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                colour = "white" if dark else "black"
                number = axes.text(column, row, format(value, form), ha="center", va="center", fontsize=7, color=colour)
                number.set_in_layout(False)  # it is inside, and asking each for its place takes long
    axes.set_yticks(range(len(rows)), rows, fontsize="small")
    axes.set_xticks(range(len(columns)), columns, fontsize="small", rotation=45 if max(map(len, columns)) > 4 else 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return image


def marker(number: int) -> dict[str, Any]:
    """The look of a variant as a mark without a line."""
    return look(number) | {"linestyle": ""}


def legend(figure: Figure, names: list[str], style: Callable[[int], dict[str, Any]]) -> None:
    """Beside the panels; ``style`` gives the look of the name at a place."""
    handles = [Line2D([], [], label=name, **style(i)) for i, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small", ncols=1 + len(names) // 22)
