"""The leaderboard's files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

from benchmark.ground.files import write_text
from reports.tables.escaping import to_csv
from reports.tables.leaderboard_forms import to_latex, to_markdown


def can_draw() -> bool:
    """Whether what draws figures is installed; tables need none of it."""
    return all(importlib.util.find_spec(package) for package in ("matplotlib", "seaborn"))


def write_leaderboard(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write leaderboard.csv, .md, .tex and, if any run is done and ``can_draw``, figures/label_efficiency.png, .svg; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    forms = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
    paths = [out / f"leaderboard.{form}" for form in forms]
    for path, text in zip(paths, forms.values(), strict=True):
        write_text(path, text(table))
    if table["dsc"].notna().any() and can_draw():
        from reports.figures.label_efficiency import label_efficiency  # matplotlib is slow to import

        paths += label_efficiency(table, out / "figures" / "label_efficiency")
    return paths
