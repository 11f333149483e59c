"""The quality of registrations as tables and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmark.ground.files import write_text
from reports.leaderboard import to_csv

if TYPE_CHECKING:
    from datasets.registration.quality import Example, Quality

HEADERS = {
    "before": "before",
    "after": "after",
    "similarity": "by similarity",
    "vote": "by vote",
    "oracle": "oracle",
}


def to_terminal(quality: Quality, title: str) -> Group:
    """Mean Dice by class for each stage, and what became of the pairs, for rich to print."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    grid.add_column("Dice")
    for header in HEADERS.values():
        grid.add_column(header, justify="right")
    for name, row in quality.table().iterrows():
        values = ["-" if np.isnan(row[stage]) else f"{row[stage]:.3f}" for stage in HEADERS]
        grid.add_row(str(name), *values, style="bold" if name == "mean" else None)
    return Group(Text(title, style="bold"), grid, *map(Text, summary(quality)), Text())


def summary(quality: Quality) -> list[str]:
    """Sentences on the pairs: how many, accepted or why not, folding, time, and whether similarity tells good warps from bad ones."""
    pairs = quality.pairs
    if pairs.empty:
        return ["no pair: every training volume is labelled"]
    accepted = int(pairs["accepted"].sum())
    related = pairs["after"].corr(pairs["dice"]) if len(pairs) > 2 else float("nan")
    return [
        f"{len(pairs)} pairs registered to {pairs['volume'].nunique()} volumes, {quality.dropped} others dropped as less alike;"
        f" {accepted} accepted, {len(pairs) - accepted} rejected (no more alike than unregistered)",
        f"folded {100 * pairs['folded'].mean():.2f} % of the field on average, {100 * pairs['folded'].max():.2f} % at worst;"
        f" {pairs['seconds'].mean():.1f} s a pair; correlation of similarity and Dice {related:.2f}",
    ]


def write(quality: Quality, title: str, stem: Path) -> list[Path]:
    """Write the scores by volume, the pairs and, where there is a pair, the picture; returns the files."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}-scores.csv"), stem.with_name(f"{stem.name}-pairs.csv")]
    write_text(paths[0], to_csv(quality.scores))
    write_text(paths[1], to_csv(quality.pairs))
    return [*paths, _picture(quality.examples, title, stem.with_suffix(".png"))] if quality.examples else paths


def _picture(examples: list[Example], title: str, path: Path) -> Path:
    """A row per example: centred labels on the target, the warped source, carried-over labels on the target."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    from reports.figures import STYLE, save_png
    from reports.slices import draw_slice

    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(examples), 3, figsize=(9, 3.2 * len(examples) + 0.9), squeeze=False, layout="constrained"
        )
        for row, example in zip(grid, examples, strict=True):
            row[0].set_title(example.title, loc="left", fontsize="small")
            draw_slice(row[0], example.image, example.truth, example.centred)
            draw_slice(row[1], example.warped, None, example.carried)
            draw_slice(row[2], example.image, example.truth, example.carried)
        for axes, text in zip(grid[-1], ["target, unregistered label", "warped source", "target, warped label"], strict=True):
            axes.set_xlabel(text)
        lines = [Line2D([], [], color="0.4", label="true"), Line2D([], [], color="0.4", linestyle="--", label="carried over")]
        figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(title, fontsize="medium")
        save_png(figure, path)
        plt.close(figure)
    return path
