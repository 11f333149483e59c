"""What artists say of themselves, in their gids: whose a mark is and what it shows, what is to be seen in a panel."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.figures.svg import BETWEEN, MARK, PANEL


def mark(artist: Any, variant: str, *texts: str) -> None:
    """This artist is of ``variant``. texts: what it shows, or of a line or of dots what each of their places shows."""
    artist.set_gid(mark_id(variant, *texts))


def mark_id(variant: str, *texts: str) -> str:
    """The gid that says so."""
    return BETWEEN.join([MARK, *(" ".join(text.replace(BETWEEN, " ").split()) for text in (variant, *texts))])


def panel(part: Any, seen: str, *box: str) -> None:
    """These axes, this legend or line can stand alone. seen: what is to be seen in it, in words. box: where it lies, if not where its
    marks and letters are.
    """
    part.set_gid(BETWEEN.join([PANEL, " ".join(seen.replace(BETWEEN, " ").split()), *box]))


def framed(figure: Figure) -> None:
    """Note where each panel lies, in points from the upper left corner; the figure has been laid out."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale, height = 72 / figure.dpi, 72 * figure.get_figheight()
    for part in [*figure.axes, *figure.legends]:
        gid = part.get_gid() or ""
        if gid.startswith(PANEL + BETWEEN) and gid.count(BETWEEN) == 1:
            box: Any = part.get_tightbbox(renderer) if isinstance(part, Axes) else part.get_window_extent(renderer)
            x, y, wide, high = box.x0 * scale, height - box.y1 * scale, box.width * scale, box.height * scale
            part.set_gid(f"{gid}{BETWEEN}{x - 3:.1f} {y - 3:.1f} {wide + 6:.1f} {high + 6:.1f}")
