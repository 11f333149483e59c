"""The look of every figure, and its files: no date and no version in them, so that the same table gives the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: works without a display

from matplotlib.figure import Figure

from benchmark.ground.files import write_atomically
from reports.figures.marks import framed
from reports.figures.svg import with_titles

STYLE: Any = {
    "text.parse_math": False,  # names come from records and data: a $ in one of them begins no formula
    "svg.hashsalt": "leaderboard",
    "svg.fonttype": "none",
    "savefig.dpi": 150,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titley": 1.0,  # where it is put anyway, for no axis has ticks at the top; finding that out takes a fifth of drawing
}
COLOURS = ("#2121d9", "#d96c00", "#8c0000", "#bb62d9", "#808080", "#330066", "#400020")
"""A contrast of 3 with white at least, and apart for eyes without red, green or blue cones."""

MARKERS = "osD^vPX<>p"
DASHES = ("-", "--", ":", "-.")
NAME = 22
"""Letters of a name in a line of a figure; what is longer is folded."""


def look(number: int) -> dict[str, Any]:
    """Colour, marker and dash of what has this number; the first seventy differ."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def numbers_of(variants: Iterable[str]) -> dict[str, int]:
    """Each variant's number, in alphabetical order: its ``look`` in every figure of a report."""
    return {variant: number for number, variant in enumerate(sorted(set(variants)))}


def fold(name: str, width: int = NAME) -> str:
    """A name in lines of at most ``width`` letters, broken after a sign where there is one."""
    lines = [""]
    for part in re.findall(r"[^\s,=_\[\].-]*[\s,=_\[\].-]?", name):
        while len(lines[-1]) + len(part.rstrip()) > width:
            room = 0 if lines[-1] and len(part) <= width else width - len(lines[-1])
            lines[-1] += part[:room]
            part = part[room:]
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines if line.strip())


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and .svg without dates or versions in them; returns both."""
    drawn = rendered(figure)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(suffix) for suffix in drawn]
    for path, content in zip(paths, drawn.values(), strict=True):
        write_atomically(path, content, durable=False)
    return paths


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure as ".png" and as ".svg", which says at its marks what they are."""
    with matplotlib.rc_context(STYLE):
        layout = figure.get_layout_engine()
        if layout:
            layout.execute(figure)
            figure.set_layout_engine(None)  # laid out once, for both forms
        framed(figure)
        return {".png": png(figure), ".svg": with_titles(_drawn(figure, "svg", {"Date": None, "Creator": None}))}


def png(figure: Figure) -> bytes:
    """A PNG without versions in it."""
    return _drawn(figure, "png", {"Software": None})


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG without versions in it."""
    write_atomically(path, png(figure), durable=False)


def _drawn(figure: Figure, form: str, metadata: dict[str, Any]) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, format=form, metadata=metadata)
    return drawn.getvalue()
