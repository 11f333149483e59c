"""The leaderboard's files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.ground.files import safe_name, write_text
from reports.tables.comparable import SECTION
from reports.tables.comparison import BASELINE, Field, baseline_of
from reports.tables.escaping import to_csv
from reports.tables.latex import ties_of, to_latex
from reports.tables.leaderboard_forms import to_markdown


def can_draw() -> bool:
    """Whether what draws figures is installed; tables need none of it."""
    return all(importlib.util.find_spec(package) for package in ("matplotlib", "seaborn"))


def write_leaderboard(table: pd.DataFrame, out: Path, found: Sequence[Field] = ()) -> list[Path]:
    """Write leaderboard.csv, .md and .tex; returns the files. found: what was compared, for LaTeX to mark what cannot be told apart."""
    out.mkdir(parents=True, exist_ok=True)
    forms = {"csv": to_csv, "md": to_markdown, "tex": lambda table: to_latex(table, ties_of(found))}
    paths = [out / f"leaderboard.{form}" for form in forms]
    for path, text in zip(paths, forms.values(), strict=True):
        write_text(path, text(table))
    return paths


def write_label_efficiency(table: pd.DataFrame, folder: Path, baseline: str = BASELINE) -> list[Path]:
    """Write label_efficiency.png and .svg if any run is done and ``can_draw``, of several sections one each; returns the files."""
    if not table["dsc"].notna().any() or not can_draw():
        return []
    import matplotlib as mpl  # slow to import

    from reports.figures.label_efficiency import label_efficiency
    from reports.figures.style import STYLE, numbers_of, save

    numbers, paths = numbers_of(table["variant"]), []
    sections: list[Any] = list(table.groupby(SECTION, sort=False))
    for section, part in sections:
        name = safe_name("-".join(["label_efficiency", *section])) if len(sections) > 1 else "label_efficiency"
        with mpl.rc_context(STYLE):
            paths += save(label_efficiency(part, baseline_of(baseline, section), numbers), folder / name)
    return paths
