"""What training costs and how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from reports.figures.marks import mark
from reports.figures.panels import dot, in_order, legend, panel_per_budget
from reports.figures.style import look
from reports.tables.comparable import SECTION, rows_of
from reports.tables.comparison import Field
from reports.tables.wording import case_seconds

if TYPE_CHECKING:
    from benchmark.records.table import Records


def cost(found: list[Field], board: pd.DataFrame, numbers: dict[str, int]) -> Figure:
    """DSC against seconds of training; what no other variant beats in both is joined by a line."""
    names = sorted({variant for field in found for variant in field.variants})
    rows = board[(board[SECTION] == list(found[0].section)).all(axis=1) & board["dsc"].notna()]
    parts = [rows[rows["labels"] == field.labels].sort_values(["seconds", "dsc"], ascending=[True, False]) for field in found]
    fronts = [part[part["dsc"] > part["dsc"].cummax().shift(fill_value=-1.0)] for part in parts]
    seen = [f"beaten by nothing in both DSC and time: {', '.join(front['variant'])}." for front in fronts]
    figure, panels = panel_per_budget(found, seen, 2.9, 2.4)
    for axes, part, front in zip(panels, parts, fronts, strict=True):
        for row in rows_of(part):
            spot = axes.plot(row.seconds, 100 * row.dsc, markersize=7, **dot(numbers[row.variant]))[0]
            mark(spot, row.variant, f"{row.variant}: {100 * row.dsc:.1f} %, {case_seconds(row.seconds)}")
        axes.plot(front["seconds"], 100 * front["dsc"], color="0.6", linewidth=1, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("seconds of a run", fontsize="small")
        axes.set_ylabel("DSC (%)", fontsize="small")
    legend(figure, names, dot, numbers)
    return figure


def training(found: list[Field], records: Records, numbers: dict[str, int]) -> Figure | None:
    """Validation DSC over the steps, mean of the runs; None where nothing was validated."""
    cells = records.cells.reindex(columns=[*records.cells.columns, "looks"]) if "looks" not in records.cells else records.cells
    dataset, protocol, kind, _ = found[0].section
    here = (
        (cells["dataset"] == dataset) & (cells["protocol"] == protocol) & (cells["kind"] == kind) & (cells["outcome"] == "done")
    )
    rows = [
        (row.labels, row.variant, step, score)
        for row in rows_of(cells[here])
        for step, score in (row.looks if isinstance(row.looks, list) else [])
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["labels", "variant", "step", "score"])
    of_budget = [table[table["labels"] == field.labels].groupby(["variant", "step"])["score"].mean() for field in found]
    last = [means.groupby(level="variant").last().sort_values(ascending=False) for means in of_budget]
    seen = [
        f"validation DSC at the end: {in_order(ends.index, 100 * ends, ' %')}." if len(ends) else "nothing." for ends in last
    ]
    figure, panels = panel_per_budget(found, seen, 2.9, 2.4)
    for axes, means in zip(panels, of_budget, strict=True):
        for variant, scores in means.groupby(level="variant"):
            steps = scores.droplevel("variant")
            style = look(numbers[str(variant)])
            line = axes.plot(steps.index, 100 * steps.to_numpy(), markersize=4, linewidth=1.2, **style)[0]
            said = [f"{variant}, step {step}: {100 * score:.1f} %" for step, score in steps.items()]
            mark(line, str(variant), *said)
        axes.set_xlabel("step", fontsize="small")
        axes.set_ylabel("validation DSC (%)", fontsize="small")
    legend(figure, sorted(table["variant"].unique()), look, numbers)
    return figure
