"""The scores of a section: every case, differences, classes, runs, ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.panels import BETTER, ROW_HEIGHT, TIED, WORSE, heatmap, name_rows, panel_per_budget
from reports.tables import comparison
from reports.tables.case_scores import reported_cases
from reports.tables.comparable import SECTION, rows_of
from reports.tables.comparison import Field, baseline_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def every_case(found: list[Field]) -> Figure:
    """DSC of every test case, a row per variant, a dot per case (mean over its runs); the bar is the mean."""
    figure, panels = panel_per_budget(found, 3.4, ROW_HEIGHT * max(len(f.variants) for f in found))
    for axes, field in zip(panels, found, strict=True):
        spread = np.linspace(-0.28, 0.28, len(field.cases))
        for row, scores in enumerate(field.means):
            axes.scatter(100 * scores, row + spread, s=9, color=BETTER, alpha=0.55, linewidths=0)
            axes.plot([100 * np.nanmean(scores)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.6)
        name_rows(axes, list(field.variants))
        axes.set_xlabel("DSC (%) of a case")
        axes.set_xlim(-2, 102)
    return figure


def differences(found: list[Field], baseline: str) -> Figure | None:
    """Difference from the baseline with its 95 % interval, a row per variant; None where it has not run."""
    tables = [(field, field.ranked.against(baseline_of(baseline, field.section))) for field in found]
    tables = [(field, table) for field, table in tables if len(table)]
    if not tables:
        return None
    figure, panels = panel_per_budget([f for f, _ in tables], 3.4, ROW_HEIGHT * max(len(table) for _, table in tables))
    for axes, (_, table) in zip(panels, tables, strict=True):
        table = table.sort_values("shift", ascending=False, ignore_index=True)
        for row in rows_of(table):
            colour = {comparison.BETTER: BETTER, comparison.WORSE: WORSE}.get(row.verdict, TIED)
            if not np.isnan(row.shift_low):
                axes.plot([100 * row.shift_low, 100 * row.shift_high], [row.Index] * 2, color=colour, linewidth=1.8)
            axes.plot(100 * row.shift, row.Index, "o", color=colour, markersize=5)
        axes.axvline(0, color="black", linewidth=0.8)
        name_rows(axes, list(table["variant"]))
        axes.set_xlabel(f"DSC points over {baseline}")
    return figure


def by_class(found: list[Field], records: Records) -> Figure:
    """Mean DSC of each class, a row per variant."""
    scores = reported_cases(records.without_trials(), ["dsc"])
    scores = scores[(scores[SECTION] == list(found[0].section)).all(axis=1)]
    case = scores.groupby(["labels", "variant", "class", "cell", "case"], observed=True)["value"].mean()
    means = case.groupby(["labels", "variant", "class"], observed=True).mean().unstack("class")
    classes = list(map(str, means.columns))
    figure, panels = panel_per_budget(
        found, 0.9 + 0.62 * len(classes) + 1.2, ROW_HEIGHT * max(len(f.variants) for f in found) + 0.5
    )
    for axes, field in zip(panels, found, strict=True):
        values = 100 * means.loc[field.labels].reindex(list(field.variants)).to_numpy()
        heatmap(axes, values, list(field.variants), classes, cmap="viridis", vmin=0, vmax=100)
    return figure


def by_run(found: list[Field]) -> Figure:
    """Mean DSC in each run: how much the draw and the seed matter beside the method."""
    runs = max(len(field.runs) for field in found)
    width = 0.45 if runs <= 6 else 0.2
    figure, panels = panel_per_budget(
        found, 1.9 + width * runs, ROW_HEIGHT * max(len(f.variants) for f in found) + 0.4, sharex=False
    )
    for axes, field in zip(panels, found, strict=True):
        with np.errstate(all="ignore"):
            values = 100 * np.ma.masked_invalid(field.scores).mean(2).filled(np.nan)
        names = [f"d{draw} s{seed}" if runs <= 6 else "" for draw, seed in field.runs]
        heatmap(axes, values, list(field.variants), names, cmap="viridis", vmin=0, vmax=100)
    return figure


def ranking(field: Field) -> Figure:
    """One budget: how often each variant takes each rank when other runs and cases are drawn, and which pairs differ (Holm-adjusted p)."""
    size = len(field.variants)
    side = 1.4 + 0.27 * size
    with sns.axes_style("white"):
        figure = Figure(figsize=(2 * side + 3.4, side + 0.6), layout="constrained")
        left, right = figure.subplots(1, 2)
    names, ranks = list(field.variants), list(map(str, range(1, size + 1)))
    heatmap(left, np.round(100 * field.ranks.frequency), names, ranks, cmap="Blues", vmin=0, vmax=100)
    left.set_title("how often (%) at each rank", loc="left", fontsize="medium")
    image = heatmap(right, field.p_values, names, names, ".2f", cmap="magma", vmin=0, vmax=0.2)
    figure.colorbar(image, ax=right, label="Holm-adjusted p")
    right.tick_params(axis="x", labelrotation=90)
    right.set_title("paired tests over runs and cases", loc="left", fontsize="medium")
    figure.suptitle(f"{field.labels} labelled", x=0.01, ha="left", fontsize="medium")
    return figure
