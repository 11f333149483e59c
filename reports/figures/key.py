"""The looks of the methods, each by itself: what a page shows beside their names."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.marks import panel
from reports.figures.style import look

WIDTH, HEIGHT = 30.0, 12.0
"""Points of a line with its mark."""


def key(numbers: dict[str, int]) -> Figure:
    """A line of each variant, in panels one below the other."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT * len(numbers) / 72))
    for place, (variant, number) in enumerate(numbers.items()):
        line = Line2D([0.05, 0.5, 0.95], [1 - (place + 0.5) / len(numbers)] * 3, markevery=[1], markersize=6, **look(number))
        figure.add_artist(line)
        panel(line, variant, f"0 {HEIGHT * place:.0f} {WIDTH:.0f} {HEIGHT:.0f}")
    return figure
