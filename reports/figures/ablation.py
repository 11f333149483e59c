"""Interaction and waterfall plots of a factorial. The same scores give the same bytes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.marks import panel
from reports.figures.style import fold, look

if TYPE_CHECKING:
    from benchmark.records.ablations import Design
    from reports.tables.ablation import Scores

RISE, FALL, TOTAL = "#0173b2", "#d55e00", "#949494"


def _grid(rows: int, columns: int, width: float, more: float = 0.0) -> tuple[Figure, np.ndarray]:
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(0.6 + width * columns, 0.5 + (3.0 + more) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharey="row", squeeze=False)
    for axes in grid.flat:
        axes.tick_params(labelsize="small", labelleft=True)
    return figure, grid


def _title(scores: Scores) -> str:
    return f"{scores.labels} labelled, {scores.test_set}"


def interactions(found: list[Scores], design: Design) -> Figure:
    """DSC against the levels of one factor, a line per level of another: parallel lines mean no interaction.

    A row per pair of factors, a column per budget and test set; means over the levels of further factors, with 95 % intervals.
    """
    names = list(design.factors)
    pairs = list(itertools.combinations(range(len(names)), 2))
    figure, grid = _grid(len(pairs), len(found), 3.1, 0.2 * max(map(len, design.factors.values())))
    place: Any = {"loc": "upper left", "bbox_to_anchor": (0, -0.2), "alignment": "left", "frameon": False}
    for (first, second), row in zip(pairs, grid, strict=True):
        for axes, scores in zip(row, found, strict=True):
            _draw_interaction(axes, scores, first, second, list(design.factors.values())[second])
            axes.set_xticks(range(scores.values.shape[first]), [fold(level, 14) for level in design.factors[names[first]]])
            axes.set_xlabel(names[first], fontsize="small")
            axes.set_ylabel("DSC (%) with 95 % interval", fontsize="small")
            axes.set_title(_title(scores), loc="left", fontsize="medium")
            axes.legend(title=names[second], fontsize="small", title_fontsize="small", **place)
    return figure


def _draw_interaction(axes: Axes, scores: Scores, first: int, second: int, levels: tuple[str, ...]) -> None:
    """The first factor's levels on the axis, the second's as lines."""
    count, seen = scores.values.shape[first], []
    for line, level in enumerate(levels):
        points = 100 * np.array([_mean_of(scores, {first: position, second: line}) for position in range(count)])
        seen.append(f"{level}: {', '.join(f'{value:.1f}' for value in points[:, 0])}")
        shift = 0.05 * (line - (len(levels) - 1) / 2)
        at = np.arange(count) + shift
        axes.plot(at, points[:, 0], label=fold(level, 40), markersize=5, **look(line))
        axes.vlines(at, points[:, 1], points[:, 2], color=look(line)["color"], linewidth=1.5)
    axes.set_xlim(-0.4, count - 0.6)
    panel(axes, f"{_title(scores)}, DSC % over the levels on the axis; {'; '.join(seen)}.")
    axes.grid(axis="x", visible=False)


def _mean_of(scores: Scores, chosen: dict[int, int]) -> tuple[float, float, float]:
    """Mean of the variants with these levels (by the factor's place), with its interval."""
    weights = np.zeros(scores.values.shape[:-2])
    weights[tuple(chosen.get(factor, slice(None)) for factor in range(weights.ndim))] = 1
    found = scores.combined(weights / weights.sum())
    return found.value, *found.interval()


def waterfall(found: list[Scores], design: Design) -> Figure:
    """From the baseline to everything: each factor's last level is switched on in turn; what it adds, with 95 % intervals."""
    figure, grid = _grid(1, len(found), 1.8 + 0.75 * len(design.factors), 0.3)
    for axes, scores in zip(grid[0], found, strict=True):
        _draw_waterfall(axes, scores, design)
        axes.set_title(_title(scores), loc="left", fontsize="medium")
        axes.set_ylabel("DSC (%), gains with 95 % interval", fontsize="small")
    return figure


def _draw_waterfall(axes: Axes, scores: Scores, design: Design) -> None:
    count = len(design.factors)
    stages = []
    for on in range(count + 1):
        stages.append(np.zeros(scores.values.shape[:-2]))
        stages[-1][(-1,) * on + (0,) * (count - on)] = 1
    means = [100 * scores.combined(stage).value for stage in stages]
    axes.bar([0, count + 1], [means[0], means[-1]], color=TOTAL, width=0.6)
    axes.text(0, means[0], f"{means[0]:.1f}", ha="center", va="bottom", fontsize="small")
    axes.text(count + 1, means[-1], f"{means[-1]:.1f}", ha="center", va="bottom", fontsize="small")
    added, seen = [], []
    for on in range(1, count + 1):
        found = scores.combined(stages[on] - stages[on - 1])
        gain, low, high = (100 * value for value in (found.value, *found.interval()))
        before = means[on - 1]
        axes.bar(on, gain, bottom=before, color=RISE if gain > 0 else FALL, width=0.6)
        axes.vlines(on, before + low, before + high, color="black", linewidth=1.2)
        axes.text(on, before + max(high, gain, 0) + 0.5, f"{gain:+.1f}", ha="center", va="bottom", fontsize="small")
        name, levels = list(design.factors.items())[on - 1]
        added.append(name if levels == ("false", "true") else f"{name}={levels[-1]}")
        seen.append(f"{added[-1]} {gain:+.1f} ({low:+.1f} to {high:+.1f})")
        axes.hlines(before, on - 1.3, on + 0.3, color="black", linewidth=0.6)
    axes.hlines(means[-1], count - 0.3, count + 1.3, color="black", linewidth=0.6)
    names = ["baseline", *(f"+ {name}" for name in added), "all"]
    axes.set_xticks(range(count + 2), [fold(name, 18) for name in names], rotation=45, ha="right", rotation_mode="anchor")
    axes.grid(axis="x", visible=False)
    panel(axes, f"{_title(scores)}: from {means[0]:.1f} % by {', '.join(seen)} points to {means[-1]:.1f} %.")
