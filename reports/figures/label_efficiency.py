"""DSC against labelled cases: the leaderboard as a figure."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports.figures.style import STYLE, look, save
from reports.tables.comparable import SECTION
from reports.tables.wording import TRACK

SIDE_BY_SIDE = 3  # facets in a row
LEGEND_WIDTH, TITLE_WIDTH = 24, 56  # characters; what is longer is folded
STEP, SPREAD = 0.06, 0.4  # between variants at a budget, at most in all: so that their intervals do not cover each other


def label_efficiency(table: pd.DataFrame, stem: Path) -> list[Path]:
    """DSC against labelled cases: a line per variant with its 95 % intervals, a facet per dataset, protocol and test set.

    Budgets stand at equal distances. The legend says at which budgets every run of a variant failed.

    Args:
        table: what ``leaderboard`` returns, with the reported network alone.
        stem: where to write, without suffix.

    Returns:
        The files written, PNG and SVG.
    """
    facets = list(table.groupby(SECTION, sort=False))
    lead = table["dsc"] - table.groupby([*SECTION, "labels"])["dsc"].transform(
        "mean"
    )  # fair to who has not run at every budget
    variants = list(lead.groupby(table["variant"]).mean().sort_values(ascending=False, na_position="last").index)
    columns = min(SIDE_BY_SIDE, len(facets))
    rows = -(-len(facets) // columns)
    with sns.axes_style("whitegrid"), plt.rc_context(STYLE):
        size = (2.4 + 4.0 * columns, 0.3 + 3.3 * rows)
        figure, grid = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
        for axes in grid.flat[len(facets) :]:
            axes.remove()
        for axes, ((dataset, _, kind, test_set), part) in zip(grid.flat, facets, strict=False):
            _draw_facet(axes, part, variants)
            protocol = part["protocol_title"].iloc[0]
            title = f"{dataset}: {test_set}, protocol {protocol}{TRACK[str(kind)]}"
            axes.set_title(textwrap.fill(title, TITLE_WIDTH), loc="left", fontsize="medium")
        for axes in grid[:, 0]:
            axes.set_ylabel("DSC (%) with 95 % interval")
        handles = [Line2D([], [], label=_name(table, variant), **look(i)) for i, variant in enumerate(variants)]
        figure.legend(handles=handles, loc="outside right upper", frameon=False)
        paths = save(figure, stem)
        plt.close(figure)
    return paths


def _draw_facet(axes: Axes, part: pd.DataFrame, variants: list[str]) -> None:
    """Lines and intervals of one dataset, protocol and test set."""
    budgets = sorted(part["labels"].unique())
    step = min(STEP, SPREAD / len(variants))
    for number, variant in enumerate(variants):
        line = part[(part["variant"] == variant) & part["dsc"].notna()].sort_values("labels")
        shift = step * (number - (len(variants) - 1) / 2)
        positions = [budgets.index(labels) + shift for labels in line["labels"]]
        style = look(number)
        axes.plot(positions, 100 * line["dsc"], markersize=5, **style)
        axes.vlines(positions, 100 * line["dsc_low"], 100 * line["dsc_high"], color=style["color"], linewidth=1.5)
    everything = part["train_cases"].max()
    axes.set_xticks(range(len(budgets)), [f"{labels} (all)" if labels == everything else f"{labels}" for labels in budgets])
    axes.set_xlim(-0.5, len(budgets) - 0.5)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("labelled cases")


def _name(table: pd.DataFrame, variant: str) -> str:
    """The variant's text in the legend."""
    failed = table.loc[(table["variant"] == variant) & (table["runs_done"] == 0), "labels"].unique()
    note = f" (failed at {', '.join(map(str, failed))})" if len(failed) else ""
    return textwrap.fill(variant.replace(",", ", ") + note, LEGEND_WIDTH)
