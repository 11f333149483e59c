"""The scores of a section: every case, differences, classes, runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from reports.figures.marks import mark
from reports.figures.panels import BETTER, CELL, TIED, WORSE, heatmap, in_order, name_rows, panel_per_budget
from reports.tables import comparison
from reports.tables.case_scores import reported_cases
from reports.tables.comparable import SECTION, rows_of
from reports.tables.comparison import Field, baseline_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def every_case(found: list[Field]) -> Figure:
    """DSC of every test case, a row per variant, a dot per case (mean over its runs); the bar is the mean."""
    seen = []
    for field in found:
        scores = 100 * field.means
        lowest = np.nanmin(scores)
        where = field.variants[int(np.argwhere(scores == lowest)[0, 0])]
        seen.append(f"mean DSC {in_order(field.variants, np.nanmean(scores, 1), ' %')}; worst case {lowest:.0f} % by {where}.")
    figure, panels = panel_per_budget(found, seen, 2.1, 0.0, [list(field.variants) for field in found])
    for axes, field in zip(panels, found, strict=True):
        spread = np.linspace(-0.28, 0.28, len(field.cases))
        for row, (variant, scores) in enumerate(zip(field.variants, 100 * field.means, strict=True)):
            dots = axes.plot(scores, row + spread, "o", markersize=3, color=BETTER, alpha=0.6, markeredgewidth=0)[0]
            known = [(case, score) for case, score in zip(field.cases, scores, strict=True) if not np.isnan(score)]
            mark(dots, variant, *(f"{variant}, {case}: {score:.1f} %" for case, score in known))
            middle = np.nanmean(scores)
            bar = axes.plot([middle] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.6)[0]
            mark(bar, variant, f"{variant}: mean {middle:.1f} %")
        name_rows(axes, list(field.variants))
        axes.set_xlabel("DSC (%) of a case", fontsize="small")
        axes.set_xlim(-2, 102)
    return figure


def differences(found: list[Field], baseline: str) -> Figure | None:
    """Difference from the baseline with its 95 % interval, a row per variant; None where it has not run."""
    tables = [
        (
            field,
            field.ranked.against(baseline_of(baseline, field.section)).sort_values("shift", ascending=False, ignore_index=True),
        )
        for field in found
    ]
    tables = [(field, table) for field, table in tables if len(table)]
    if not tables:
        return None
    seen = [f"DSC points over {baseline}: {in_order(table['variant'], 100 * table['shift'])}." for _, table in tables]
    figure, panels = panel_per_budget([f for f, _ in tables], seen, 2.1, 0.0, [list(table["variant"]) for _, table in tables])
    for axes, (_, table) in zip(panels, tables, strict=True):
        for row in rows_of(table):
            colour = {comparison.BETTER: BETTER, comparison.WORSE: WORSE}.get(row.verdict, TIED)
            said = f"{row.variant}: {100 * row.shift:+.1f} points"
            if not np.isnan(row.shift_low):
                ends = [100 * row.shift_low, 100 * row.shift_high]
                said += f" ({ends[0]:+.1f} to {ends[1]:+.1f}), {row.verdict}"
                mark(axes.plot(ends, [row.Index] * 2, color=colour, linewidth=1.8)[0], row.variant, said)
            filled = "full" if row.verdict in (comparison.BETTER, comparison.WORSE) else "none"
            dot = axes.plot(100 * row.shift, row.Index, "o", color=colour, markersize=5, fillstyle=filled)[0]
            mark(dot, row.variant, said)
        axes.axvline(0, color="black", linewidth=0.8)
        name_rows(axes, list(table["variant"]))
        axes.set_xlabel(f"DSC points over {baseline}", fontsize="small")
    return figure


def by_class(found: list[Field], records: Records) -> Figure:
    """Mean DSC of each class, a row per variant."""
    scores = reported_cases(records.without_trials(), ["dsc"])
    scores = scores[(scores[SECTION] == list(found[0].section)).all(axis=1)]
    case = scores.groupby(["labels", "variant", "class", "cell", "case"], observed=True)["value"].mean()
    means = case.groupby(["labels", "variant", "class"], observed=True).mean().unstack("class")
    classes = list(map(str, means.columns))
    tables = [100 * means.loc[field.labels].reindex(list(field.variants)).to_numpy() for field in found]
    seen = [_worst(values, field.variants, classes) for values, field in zip(tables, found, strict=True)]
    return _maps(found, tables, seen, [classes] * len(found))


def by_run(found: list[Field]) -> Figure:
    """Mean DSC in each run: how much the draw and the seed matter beside the method."""
    names = [[f"d{draw} s{seed}" for draw, seed in field.runs] for field in found]
    with np.errstate(all="ignore"):
        tables = [100 * np.ma.masked_invalid(field.scores).mean(2).filled(np.nan) for field in found]
    seen = [_worst(values, field.variants, of) for values, field, of in zip(tables, found, names, strict=True)]
    return _maps(found, tables, seen, names)


def _worst(values: np.ndarray, variants: tuple[str, ...], columns: list[str]) -> str:
    """The ends of a map in words."""
    ends = []
    for word, place in (("highest", np.nanargmax(values)), ("lowest", np.nanargmin(values))):
        row, column = np.unravel_index(place, values.shape)
        ends.append(f"{word} {values[row, column]:.0f} % by {variants[row]} in {columns[column]}")
    return f"mean DSC {', '.join(ends)}."


def _maps(found: list[Field], tables: list[np.ndarray], seen: list[str], columns: list[list[str]]) -> Figure:
    """Maps of DSC (%), a panel per budget."""
    below = 0.075 * max(len(name) for names in columns for name in names)
    width = max(CELL * max(map(len, columns)), 1.0)
    rows = [list(field.variants) for field in found]
    figure, panels = panel_per_budget(found, seen, width, below, rows, sharex=False)
    for axes, values, names, of in zip(panels, tables, columns, rows, strict=True):
        lowest = math.floor(min(np.nanmin(table) for table in tables) / 10) * 10
        heatmap(axes, values, of, names, cmap="viridis", vmin=lowest, vmax=100)
    return figure
