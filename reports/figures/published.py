"""Our scores beside published ones."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from reports.figures.marks import mark, panel
from reports.figures.panels import BETTER, WORSE, name_rows, names_width, rows_height
from reports.tables.comparable import SECTION, rows_of
from reports.tables.published import published


def against_published(board: pd.DataFrame, section: tuple[str, ...]) -> Figure | None:
    """Ours with its interval beside each published number of the same dataset, method, variant and budget; None where there is none."""
    rows = rows_of(board[(board[SECTION] == list(section)).all(axis=1) & board["dsc"].notna()])
    ours = [p for p in published() if p.matches]
    pairs = [
        (row, [p for p in ours if (p.dataset, p.method, p.labels) == (row.dataset, row.variant, row.labels)]) for row in rows
    ]
    pairs = [(row, numbers) for row, numbers in pairs if numbers and row.kind == "run"]
    if not pairs:
        return None
    names = [f"{row.variant}, {row.labels}" for row, _ in pairs]
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(2.6 + names_width(names), 1.4 + rows_height(names)), layout="constrained")
        axes = figure.subplots()
    fills = {"read": "full", "secondary": "left", "unchecked": "none"}
    for place, (row, numbers) in enumerate(pairs):
        axes.plot([100 * row.dsc_low, 100 * row.dsc_high], [place] * 2, color=BETTER, linewidth=2)
        ours_at = axes.plot(100 * row.dsc, place, "o", color=BETTER)[0]
        mark(ours_at, row.variant, f"{row.variant}, {row.labels} labelled: {100 * row.dsc:.1f} %")
        for number in numbers:
            spot = axes.plot(number.dsc, place, "D", color=WORSE, fillstyle=fills[number.confidence], markersize=6)[0]
            mark(spot, row.variant, str(number))
    name_rows(axes, names)
    axes.set_xlabel(
        "DSC (%): ours with interval (blue);\npublished (diamonds: full read,\nhalf second-hand, empty unchecked)",
        fontsize="small",
    )
    panel(
        axes,
        "; ".join(
            f"{n}: ours {100 * row.dsc:.1f}, published {', '.join(f'{p.dsc:g}' for p in of)}"
            for n, (row, of) in zip(names, pairs, strict=True)
        ),
    )
    axes.set_xlim(0, 100)
    return figure
