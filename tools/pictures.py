"""Draw the README's pictures into docs/pictures from a store: `make pictures` calls it, after running what they show.

The leaderboard as the terminal shows it, the label-efficiency figure, and contours of the best method on its best, median and worst case
of the phantom, which is nobody's heart.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from PIL import Image
from rich.console import Console

from benchmark.cell.overlays import overlays
from benchmark.records.store import Store
from benchmark.records.table import collect
from reports.figures.overlays import draw_overlay
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_terminal
from reports.writing.leaderboard import write_label_efficiency

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
LABELS = 3
"""The budget whose cases are shown."""
SMALL = (800, 898)
"""Pixels of the picture of contours."""


def main(folder: Path) -> None:
    """Write leaderboard.svg, label_efficiency.svg and contours.jpg."""
    store = Store(folder)
    records = collect(store)
    table = leaderboard(records)
    PICTURES.mkdir(parents=True, exist_ok=True)

    console = Console(record=True, width=76, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(to_terminal(table))
    drawn = console.export_svg(title="python -m benchmark report")
    fonts = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # fetched from elsewhere; whoever looks has one of his own
    (PICTURES / "leaderboard.svg").write_text(fonts.sub("", drawn), encoding="utf-8")

    for file in write_label_efficiency(table, PICTURES):
        if file.suffix == ".png":
            file.unlink()
    some = records.select(records.cells["labels"] == LABELS)
    for overlay in overlays(some, [store], "supervised"):
        file = draw_overlay(overlay, PICTURES / "contours")
        with Image.open(file) as drawn_in_full:
            drawn_in_full.convert("RGB").resize(SMALL).save(file.with_suffix(".jpg"), quality=80)
        file.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
