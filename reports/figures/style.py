"""The look of every figure, and its files: no date and no version in them, so that the same table gives the same bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: works without a display

import seaborn as sns
from matplotlib.figure import Figure

from benchmark.ground.files import write_atomically

STYLE: Any = {
    "text.parse_math": False,  # names come from records and data: a $ in one of them begins no formula
    "svg.hashsalt": "leaderboard",
    "svg.fonttype": "none",
    "savefig.dpi": 150,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titley": 1.0,  # where it is put anyway, for no axis has ticks at the top; finding that out takes a fifth of drawing
}
MARKERS = "osD^vPX<>p"


def look(number: int) -> dict[str, Any]:
    """Colour (safe for the colour-blind), marker and dash of a variant; the first thirty differ."""
    palette = sns.color_palette("colorblind")
    dash = ("-", "--", ":")[number // len(palette) % 3]
    return {
        "color": palette[number % len(palette)],
        "marker": MARKERS[(number + 3 * (number // len(palette))) % len(MARKERS)],
        "linestyle": dash,
    }


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and .svg without dates or versions in them; returns both."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    layout = figure.get_layout_engine()
    if layout:
        layout.execute(figure)
        figure.set_layout_engine(None)  # laid out once, for both forms
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    save_png(figure, paths[0])
    _save(figure, paths[1], {"Date": None, "Creator": None})
    return paths


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG without versions in it."""
    _save(figure, path, {"Software": None})


def _save(figure: Figure, path: Path, metadata: dict[str, Any]) -> None:
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], metadata=metadata)
    write_atomically(path, drawn.getvalue(), durable=False)
