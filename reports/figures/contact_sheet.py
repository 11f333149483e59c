"""A contact sheet: a slice of each scan with the contours of what was found in it. It shows patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

COLUMNS, SIDE = 6, 1.8
"""Pictures in a row, and inches of each."""


def draw_contact_sheet(pictures: Sequence[tuple[str, np.ndarray, np.ndarray]], classes: tuple[str, ...], path: Path) -> Path:
    """Write a PNG of slices: name, image (H, W) and classes (H, W) of each; ``classes`` with the background first."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from reports.figures.slices import class_colours, draw_slice
    from reports.figures.style import STYLE, save_png

    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(SIDE * columns, 4.0), (SIDE + 0.25) * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, image, label) in zip(grid, pictures, strict=False):
            draw_slice(axes, image, label)
            axes.set_title(name, fontsize="x-small")
        for axes in grid[len(pictures) :]:
            axes.set_axis_off()
        colours = class_colours(len(classes) - 1)
        lines = [Line2D([], [], color=colour, label=name) for colour, name in zip(colours, classes[1:], strict=True)]
        figure.legend(handles=lines, loc="outside lower center", ncols=min(6, len(lines)), frameon=False, fontsize="small")
        save_png(figure, path)
    return path
