"""What tuning found, as a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

COLUMNS = ["method", "labels", "trials", "failed", "published", "best", "hparams"]


def to_terminal(rows: list[dict[str, Any]], trials: int, steps: int) -> Group:
    """A row per study, for rich to print; rows are those of ``Tuner.results``."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Labels", "Method", "Trials", "Published", "Best", "Best hyper-parameters"):
        grid.add_column(name, justify="left" if name in ("Method", "Best hyper-parameters") else "right", overflow="fold")
    for row in rows:
        best = ", ".join(f"{name}={value:.3g}" for name, value in row["hparams"].items())
        same = row["published"] is not None and row["published"] == row["best"]
        failed = f" ({row['failed']} failed)" if row["failed"] else ""
        scores = [_percent(row["published"]), _percent(row["best"])]
        grid.add_row(
            str(row["labels"]), row["method"], f"{row['trials']}{failed}", *scores, "the published ones" if same else best
        )
    title = f"tuning: validation DSC % of the last weights, {trials} trials of {steps} steps for each method and budget"
    return Group(Text(title, style="bold"), grid, Text())


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"


def write(rows: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``tuning.csv``; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tuning.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"hparams": json.dumps(row["hparams"])} for row in rows)
    return [path]
