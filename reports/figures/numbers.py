"""Numbers in the cells of a map, drawn at once: as texts of matplotlib, hundreds of them take most of a report's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties

from reports.figures.marks import mark_id

SIZE = 6.8
"""Points."""


@dataclass(frozen=True)
class Number:
    """A number: its cell, text and colour; ``gid`` says whose it is and what it means."""

    row: int
    column: int
    text: str
    colour: str
    gid: str | None


class Numbers(Artist):
    """All numbers of a map, each in the middle of its cell."""

    def __init__(self, axes: Axes) -> None:
        super().__init__()
        self.each: list[Number] = []
        self.set_zorder(3)
        self.set_in_layout(False)
        axes.add_artist(self)

    def put(self, row: int, column: int, text: str, colour: str, variant: str = "", said: str = "") -> None:
        """One more. said: what it means, of ``variant``."""
        self.each.append(Number(row, column, text, colour, mark_id(variant, said) if variant else None))

    def draw(self, renderer: Any) -> None:
        """As every artist is drawn."""
        font, to_display = FontProperties(size=SIZE), self.axes.transData  # type: ignore[union-attr]
        sizes: dict[str, tuple[float, float, float]] = {}
        flipped = renderer.flipy()
        context = renderer.new_gc()
        for one in self.each:
            if one.text not in sizes:
                sizes[one.text] = renderer.get_text_width_height_descent(one.text, font, ismath=False)
            wide, high, below = sizes[one.text]
            x, y = to_display.transform((one.column, one.row))
            y -= high / 2 - below
            context.set_foreground(one.colour)
            renderer.open_group("text", gid=one.gid)
            renderer.draw_text(context, x - wide / 2, renderer.height - y if flipped else y, one.text, font, 0, ismath=False)
            renderer.close_group("text")
        context.restore()
        self.stale = False
