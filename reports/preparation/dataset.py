"""A dataset's summary as tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmark.ground.files import write_text
from datasets.contents import hash_of
from reports.tables.escaping import to_csv

if TYPE_CHECKING:
    from datasets.summary import Summary


def to_terminal(summary: Summary) -> Group:
    """Cases by use, shares of the classes and the budgets there are, for rich to print."""
    dataset, volumes = summary.dataset, summary.volumes
    uses = _table(
        "Use",
        "Cases",
        "Volumes",
        "Slices",
        "Depth",
        "Height",
        "Width",
        *(["mm (z)", "mm (y, x)"] if dataset.spacing_known else []),
    )
    for use, part in volumes.groupby("use", sort=False):
        cells = [str(use), str(part["case"].nunique()), str(len(part)), str(part["depth"].sum())]
        cells += [_range(part[size].to_numpy(), 0) for size in ("depth", "height", "width")]
        if dataset.spacing_known:
            cells += [_range(part["z"].to_numpy(), 2), _range(part[["y", "x"]].to_numpy(), 2)]
        uses.add_row(*cells)
    classes = _table("Class", "Voxels %", "Volumes with it", *(f"ceiling at {size} px" for size in summary.ceilings))
    labelled = volumes[list(dataset.classes)].dropna()
    for number, name in enumerate(dataset.classes):
        share = 100 * labelled[name].sum() / labelled.to_numpy().sum()
        tops = [_percent(tops[number - 1]) if number else "" for tops in summary.ceilings.values()]
        classes.add_row(name, f"{share:.2f}", f"{(labelled[name] > 0).sum()} of {len(labelled)}", *tops)
    train = dataset.split.train
    channels = "1 channel" if dataset.channels == 1 else f"{dataset.channels} channels"
    spacing = "" if dataset.spacing_known else ", spacing not stored"
    title = f"{dataset.name}: {volumes['case'].nunique()} cases, {len(volumes)} volumes, {channels}{spacing}"
    lines = [
        f"budgets: 1 to {len(train)} labelled cases; draw 0 labels {', '.join(train[:3])}{', ...' if len(train) > 3 else ''}"
    ]
    if dataset.train_groups:
        lines.append(f"random draws are balanced over: {', '.join(sorted(set(dataset.train_groups.values())))}")
    lines.append("ceiling: Dice % of a perfect mask resized to a protocol's pixels and back; no method can score higher there")
    lines += [*dataset.facts, f"content {hash_of(dataset)}"]
    return Group(Text(title, style="bold"), uses, Text(), classes, Text(), *map(Text, lines), Text())


def _table(first: str, *others: str) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column(first, no_wrap=True)
    for name in others:
        grid.add_column(name, justify="right")
    return grid


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def _range(values: np.ndarray, digits: int) -> str:
    low, high = values.min(), values.max()
    return f"{low:.{digits}f}" if low == high else f"{low:.{digits}f}-{high:.{digits}f}"


def write(summary: Summary, folder: Path) -> list[Path]:
    """Write ``volumes.csv`` and ``slices.png``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "volumes.csv"
    write_text(table, to_csv(summary.volumes))
    return [table, _picture(summary, folder / "slices.png")]


def _picture(summary: Summary, path: Path) -> Path:
    """The sampled slices with the contours of their labels."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    from reports.figures.slices import class_colours, draw_slice
    from reports.figures.style import STYLE, save_png

    columns = min(4, len(summary.samples))
    rows = -(-len(summary.samples) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(rows, columns, figsize=(3 * columns, 3.3 * rows + 0.6), squeeze=False, layout="constrained")
        for axes in grid.flat[len(summary.samples) :]:
            axes.remove()
        for axes, sample in zip(grid.flat, summary.samples, strict=False):
            draw_slice(axes, sample.image, sample.label)
            axes.set_title(sample.title, fontsize="x-small")
        names = summary.dataset.classes[1:]
        lines = [
            Line2D([], [], color=colour, label=name) for name, colour in zip(names, class_colours(len(names)), strict=True)
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), 4), frameon=False)
        save_png(figure, path)
        plt.close(figure)
    return path
