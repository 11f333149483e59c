"""What a figure says of its parts: whose a mark is and what it shows, what is to be seen in a panel, and where the panel lies.

matplotlib writes an artist's gid into SVG; what is said travels there, and ``with_titles`` makes titles and attributes of it.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.figures.namespaces import SVG

MARK, PANEL, BETWEEN = "mark", "panel", "\u241f"


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


def with_titles(svg: bytes) -> bytes:
    """The SVG with ``data-method`` and titles at marks, and descriptions and ``data-box`` (x y width height) at panels."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - what matplotlib has just drawn
    for group in root.iter(f"{{{SVG}}}g"):
        kind, *said = (group.get("id") or "").split(BETWEEN)
        if kind == MARK:
            del group.attrib["id"]
            group.set("data-method", said[0])
            places = list(group.iter(f"{{{SVG}}}use"))
            several = len(said) > 2 and len(places) == len(said) - 1
            for place, text in zip(places if several else [group], said[1:] if several else ["\n".join(said[1:])], strict=True):
                if text:
                    _first(place, "title", text)
        elif kind == PANEL:
            del group.attrib["id"]
            _first(group, "desc", said[0])
            group.set("data-box", said[1])
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _first(element: ElementTree.Element, tag: str, text: str) -> None:
    child = ElementTree.Element(f"{{{SVG}}}{tag}")
    child.text = text
    element.insert(0, child)
