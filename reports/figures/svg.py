"""SVG that says what is in it: whose a mark is and what it shows, what is to be seen in a panel, and where the panel lies.

matplotlib writes an artist's gid into SVG; what is said travels there (``reports.figures.marks``), and ``with_titles`` makes titles and
attributes of it.
"""

from __future__ import annotations

from xml.etree import ElementTree

MARK, PANEL, BETWEEN = "mark", "panel", "\u241f"
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


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
