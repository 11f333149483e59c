"""DSC against labelled cases: the leaderboard as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from reports.figures.marks import mark, panel
from reports.figures.style import fold, look

ACROSS = 5
WIDTH, HEIGHT = 2.15, 1.9
"""Panels in a row, and inches of one."""

STEP = 0.07
"""Between a variant and the baseline at a budget: so that their intervals do not cover each other."""


def label_efficiency(table: pd.DataFrame, baseline: str, numbers: dict[str, int]) -> Figure:
    """A panel per variant: its DSC against labelled cases, with 95 % intervals, beside the baseline's and, grey, all others'.

    Budgets stand at equal distances. A title says at which budgets no run of the variant is done: all failed, or some are to do.

    Args:
        table: what ``leaderboard`` returns, of one section.
    """
    lead = table["dsc"] - table.groupby("labels")["dsc"].transform("mean")  # fair to who has not run at every budget
    variants = list(lead.groupby(table["variant"]).mean().sort_values(ascending=False, na_position="last").index)
    shown = [variant for variant in variants if variant != baseline] or variants
    budgets = sorted(table["labels"].unique())
    lines = {variant: table[(table["variant"] == variant) & table["dsc"].notna()].sort_values("labels") for variant in variants}
    across = min(ACROSS, len(shown))
    rows = -(-len(shown) // across)
    title = max(fold(variant).count("\n") + 1 for variant in shown)
    with sns.axes_style("whitegrid"):
        size = (0.5 + WIDTH * across, 0.3 + (HEIGHT + 0.17 * title) * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, across, sharey=True, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.remove()
    for axes, variant in zip(grid.flat, shown, strict=False):
        others = [_points(lines[name], budgets)[:2].T for name in variants if name not in (variant, baseline)]
        axes.add_collection(LineCollection([line for line in others if len(line)], colors="0.86", linewidths=0.8, zorder=1))
        for name, shift in {baseline: -STEP / 2, variant: STEP / 2}.items():
            if name in lines:
                _draw(axes, lines[name], budgets, shift, look(numbers[name]))
        _label(axes, table, budgets)
        axes.set_title(
            fold(variant + _lacking(table[table["variant"] == variant]), 28),
            loc="left",
            fontsize="small",
            color=look(numbers[variant])["color"],
        )
        panel(axes, "; ".join(_seen(lines[name], name) for name in dict.fromkeys((variant, baseline)) if name in lines))
    return figure


def _lacking(rows: pd.DataFrame) -> str:
    """In words, at which budgets a variant has no score, and why."""
    none = rows[rows["runs_done"] == 0]
    to_do = none["runs_unfinished"] > 0
    parts = {"failed at": none.loc[~to_do, "labels"].unique(), "to do at": none.loc[to_do, "labels"].unique()}
    words = [f"{word} {', '.join(map(str, labels))}" for word, labels in parts.items() if len(labels)]
    return f" ({'; '.join(words)})" if words else ""


def _points(line: pd.DataFrame, budgets: list[int]) -> np.ndarray:
    """(4, n): place of the budget, DSC, and the ends of its interval, in percent."""
    places = [budgets.index(labels) for labels in line["labels"]]
    return np.array([places, *(100 * line[["dsc", "dsc_low", "dsc_high"]].to_numpy(dtype=float).T)], dtype=float)


def _draw(axes: Axes, line: pd.DataFrame, budgets: list[int], shift: float, style: dict[str, Any]) -> None:
    """A variant's line with its intervals."""
    if line.empty:
        return
    places, scores, low, high = _points(line, budgets)
    variant = str(line["variant"].iloc[0])
    said = [
        f"{variant}, {labels} labelled: {score:.1f} %" + ("" if np.isnan(start) else f" ({start:.1f} to {end:.1f})")
        for labels, score, start, end in zip(line["labels"], scores, low, high, strict=True)
    ]
    mark(axes.plot(places + shift, scores, markersize=4.5, linewidth=1.4, **style)[0], variant, *said)
    mark(axes.vlines(places + shift, low, high, color=style["color"], linewidth=1.3), variant)


def _label(axes: Axes, table: pd.DataFrame, budgets: list[int]) -> None:
    everything = table["train_cases"].max()
    axes.set_xticks(range(len(budgets)), [f"{labels} (all)" if labels == everything else f"{labels}" for labels in budgets])
    axes.set_xlim(-0.4, len(budgets) - 0.6)
    axes.grid(axis="x", visible=False)
    axes.tick_params(labelsize="x-small", labelleft=True)
    axes.set_xlabel("labelled cases", fontsize="x-small")
    axes.set_ylabel("DSC (%)", fontsize="x-small")


def _seen(line: pd.DataFrame, name: str) -> str:
    if line.empty:
        return f"{name}: no score"
    scores = [f"{100 * dsc:.1f} % with {labels}" for labels, dsc in zip(line["labels"], line["dsc"], strict=True)]
    return f"{name}: DSC {', '.join(scores)} labelled"
