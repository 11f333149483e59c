"""What training costs and how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from reports.figures.panels import legend, marker, panel_per_budget
from reports.figures.style import look
from reports.tables.comparable import SECTION, rows_of
from reports.tables.comparison import Field

if TYPE_CHECKING:
    from benchmark.records.table import Records


def cost(found: list[Field], board: pd.DataFrame) -> Figure:
    """DSC against seconds of training; what no other variant beats in both is joined by a line."""
    figure, panels = panel_per_budget(found, 3.2, 3.0)
    names = sorted({variant for field in found for variant in field.variants})
    rows = board[(board[SECTION] == list(found[0].section)).all(axis=1) & board["dsc"].notna()]
    for axes, field in zip(panels, found, strict=True):
        part = rows[rows["labels"] == field.labels].sort_values(["seconds", "dsc"], ascending=[True, False])
        for row in rows_of(part):
            axes.plot(row.seconds, 100 * row.dsc, markersize=7, **marker(names.index(row.variant)))
        front = part[part["dsc"] > part["dsc"].cummax().shift(fill_value=-1.0)]
        axes.plot(front["seconds"], 100 * front["dsc"], color="0.6", linewidth=1, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("seconds of a run")
    panels[0].set_ylabel("DSC (%)")
    legend(figure, names, marker)
    return figure


def training(found: list[Field], records: Records) -> Figure | None:
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
    figure, panels = panel_per_budget(found, 3.2, 3.0)
    names = sorted(table["variant"].unique())
    for axes, field in zip(panels, found, strict=True):
        means = table[table["labels"] == field.labels].groupby(["variant", "step"])["score"].mean()
        for variant, line in means.groupby(level="variant"):
            steps = line.droplevel("variant")
            axes.plot(steps.index, 100 * steps.to_numpy(), markersize=4, linewidth=1.2, **look(names.index(str(variant))))
        axes.set_xlabel("step")
    panels[0].set_ylabel("validation DSC (%)")
    legend(figure, names, look)
    return figure
