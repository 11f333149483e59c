"""Pictures in the page: SVG in it, a panel at a time, so that a phone stacks what a desk has side by side."""

from __future__ import annotations

import base64
import html
import io
import re
from xml.etree import ElementTree

from reports.figures.svg import SVG, XLINK

PIXELS = 4 / 3
"""Of the screen, in a point."""

SMALLEST = 9.0
"""Pixels of the smallest letters on a small screen."""

NAMED = re.compile(r'(?:url\(#|href="#)([^)"]+)')
"""A shape that is used."""


def photo(png: bytes) -> str:
    """A PNG as a data URI, made small: few colours are enough for a plot."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        small, "PNG"
    )
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def panels(svg: bytes, alt: str) -> tuple[list[str], dict[str, str]]:
    """The panels of a figure as SVG elements for a page, all of it as one where it has none; and by id the shapes that they use.

    alt: what is to be seen, where a panel does not say it.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - ours
    shapes: dict[str, ElementTree.Element] = {}
    for parent in list(root.iter()):
        for defined in [child for child in parent if child.tag == f"{{{SVG}}}defs"]:
            shapes |= {shape.get("id", ""): shape for shape in defined}
            parent.remove(defined)
    width, height = (float(length.removesuffix("pt")) for length in (root.get("width", ""), root.get("height", "")))
    found = [group for group in root.iter(f"{{{SVG}}}g") if group.get("data-box")]
    whole = next(root.iter(f"{{{SVG}}}g"))
    texts = [_panel(group, group.get("data-box", ""), alt) for group in found] or [_panel(whole, f"0 0 {width} {height}", alt)]
    used: dict[str, str] = {}
    wanted = [name for text in texts for name in NAMED.findall(text)]
    while wanted:
        name = wanted.pop()
        if name in shapes and name not in used:
            used[name] = _text(shapes[name])
            wanted += NAMED.findall(used[name])
    return texts, used


def _panel(group: ElementTree.Element, box: str, alt: str) -> str:
    """A panel in an SVG element of its own, as large as on paper, and never so small that it cannot be read."""
    described = group.find(f"{{{SVG}}}desc")
    if described is not None:
        alt = described.text or alt
        group.remove(described)
    for name in ("id", "data-box"):
        group.attrib.pop(name, None)
    _, _, width, height = map(float, box.split())
    letters = [
        float(size)
        for text in group.iter(f"{{{SVG}}}text")
        for size in re.findall(r"font-size: ([\d.]+)px", text.get("style", ""))
    ]
    least = min(1.0, SMALLEST / (PIXELS * min(letters, default=SMALLEST)))
    sizes = f"width:{PIXELS * width:.0f}px;min-width:{PIXELS * width * least:.0f}px"
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="{box}" width="{PIXELS * width:.0f}" height="{PIXELS * height:.0f}"'
        f' style="{sizes}">{_text(group)}</svg>'
    )


def _text(element: ElementTree.Element) -> str:
    """As HTML holds it: no namespaces, and no ids below its own; letters are the page's own; coordinates to a hundredth of a point."""
    for part in element.iter():
        part.tag = part.tag.rpartition("}")[2]
        if part is not element:
            part.attrib.pop("id", None)
        link = part.attrib.pop(f"{{{XLINK}}}href", None)
        if link is not None:
            part.set("href", link.replace("\n", ""))
        if part.text and not part.text.strip():
            part.text = None
        if part.tail and not part.tail.strip():
            part.tail = None
        style = part.get("style")
        if style:
            part.set("style", re.sub(r"font-family: [^;]*(; |$)", "", style))
        for name in ("d", "x", "y", "transform", "points"):
            if (value := part.get(name)) is not None:
                part.set(name, re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value.replace("\n", "")))
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=True)
