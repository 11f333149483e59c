"""Interaction and waterfall plots of a factorial. The same scores give the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import STYLE, look, save

if TYPE_CHECKING:
    from benchmark.records.ablations import Design
    from reports.tables.ablation import Scores

RISE, FALL, TOTAL = "#0173b2", "#d55e00", "#949494"


@contextmanager
def _grid(rows: int, columns: int, width: float) -> Iterator[tuple[Figure, np.ndarray]]:
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        size = (0.6 + width * columns, 0.5 + 3.2 * rows)
        figure, grid = plt.subplots(rows, columns, figsize=size, sharey="row", squeeze=False, layout="constrained")
        yield figure, grid
        plt.close(figure)


def _title(scores: Scores) -> str:
    return f"{scores.labels} labelled, {scores.test_set}"


def interactions(found: list[Scores], design: Design, stem: Path) -> list[Path]:
    """DSC against the levels of one factor, a line per level of another: parallel lines mean no interaction.

    A row per pair of factors, a column per budget and test set; means over the levels of further factors, with 95 % intervals.
    """
    names = list(design.factors)
    pairs = list(itertools.combinations(range(len(names)), 2))
    with _grid(len(pairs), len(found), 2.9) as (figure, grid):
        for (first, second), row in zip(pairs, grid, strict=True):
            for axes, scores in zip(row, found, strict=True):
                _draw_interaction(axes, scores, first, second, list(design.factors.values())[second])
                axes.set_xticks(range(scores.values.shape[first]), design.factors[names[first]])
                axes.set_xlabel(names[first])
                axes.set_title(_title(scores), loc="left", fontsize="medium")
            row[0].set_ylabel("DSC (%) with 95 % interval")
            row[-1].legend(title=names[second], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        return save(figure, stem)


def _draw_interaction(axes: Axes, scores: Scores, first: int, second: int, levels: tuple[str, ...]) -> None:
    """The first factor's levels on the axis, the second's as lines."""
    count = scores.values.shape[first]
    for line, level in enumerate(levels):
        points = 100 * np.array([_mean_of(scores, {first: position, second: line}) for position in range(count)])
        shift = 0.05 * (line - (len(levels) - 1) / 2)
        at = np.arange(count) + shift
        axes.plot(at, points[:, 0], label=level, markersize=5, **look(line))
        axes.vlines(at, points[:, 1], points[:, 2], color=look(line)["color"], linewidth=1.5)
    axes.set_xlim(-0.4, count - 0.6)
    axes.grid(axis="x", visible=False)


def _mean_of(scores: Scores, chosen: dict[int, int]) -> tuple[float, float, float]:
    """Mean of the variants with these levels (by the factor's place), with its interval."""
    weights = np.zeros(scores.values.shape[:-2])
    weights[tuple(chosen.get(factor, slice(None)) for factor in range(weights.ndim))] = 1
    found = scores.combined(weights / weights.sum())
    return found.value, *found.interval()


def waterfall(found: list[Scores], design: Design, stem: Path) -> list[Path]:
    """From the baseline to everything: each factor's last level is switched on in turn; what it adds, with 95 % intervals."""
    with _grid(1, len(found), 1.8 + 1.0 * len(design.factors)) as (figure, grid):
        for axes, scores in zip(grid[0], found, strict=True):
            _draw_waterfall(axes, scores, design)
            axes.set_title(_title(scores), loc="left", fontsize="medium")
        grid[0, 0].set_ylabel("DSC (%), gains with 95 % interval")
        return save(figure, stem)


def _draw_waterfall(axes: Axes, scores: Scores, design: Design) -> None:
    count = len(design.factors)
    stages = []
    for on in range(count + 1):
        stages.append(np.zeros(scores.values.shape[:-2]))
        stages[-1][(-1,) * on + (0,) * (count - on)] = 1
    means = [100 * scores.combined(stage).value for stage in stages]
    axes.bar([0, count + 1], [means[0], means[-1]], color=TOTAL, width=0.6)
    axes.text(0, means[0], f"{means[0]:.1f}", ha="center", va="bottom")
    axes.text(count + 1, means[-1], f"{means[-1]:.1f}", ha="center", va="bottom")
    for on in range(1, count + 1):
        found = scores.combined(stages[on] - stages[on - 1])
        gain, low, high = (100 * value for value in (found.value, *found.interval()))
        before = means[on - 1]
        axes.bar(on, gain, bottom=before, color=RISE if gain > 0 else FALL, width=0.6)
        axes.vlines(on, before + low, before + high, color="black", linewidth=1.2)
        axes.text(on, before + max(high, gain, 0) + 0.5, f"{gain:+.1f}", ha="center", va="bottom")
        axes.hlines(before, on - 1.3, on + 0.3, color="black", linewidth=0.6)
    axes.hlines(means[-1], count - 0.3, count + 1.3, color="black", linewidth=0.6)
    added = [name if levels == ("false", "true") else f"{name}=\n{levels[-1]}" for name, levels in design.factors.items()]
    axes.set_xticks(range(count + 2), ["baseline", *(f"+ {name}" for name in added), "all"])
    axes.grid(axis="x", visible=False)
