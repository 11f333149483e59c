"""Pictures of single cases: the truth and what methods made of it. They show patients, so a report has them on request only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROW = 2.6
"""Inches."""


@dataclass(frozen=True)
class Example:
    """One slice of a test case: the image (H, W), its true mask, and by variant the predicted one; ``title`` says why it is here."""

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Overlay:
    """Examples of one budget of a section, in rows; ``name`` for the file, ``caption`` for the page."""

    section: tuple[str, ...]
    name: str
    caption: str
    classes: tuple[str, ...]
    examples: list[Example]


def draw_overlay(overlay: Overlay, stem: Path) -> Path:
    """Write ``stem``.png: a row per example; the image, then each variant's contours (dashed) on the true ones (solid)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from reports.figures.slices import class_colours, draw_slice
    from reports.figures.style import STYLE, save_png

    variants = list(overlay.examples[0].predictions)
    path = stem.with_name(f"{stem.name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        size = (ROW * (1 + len(variants)) + 0.4, (ROW + 0.3) * len(overlay.examples) + 0.5)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(overlay.examples), 1 + len(variants), squeeze=False)
        for row, example in zip(grid, overlay.examples, strict=True):
            draw_slice(row[0], example.image, None)
            row[0].set_title(example.title, loc="left", fontsize="small")
            for axes, variant in zip(row[1:], variants, strict=True):
                draw_slice(axes, example.image, example.truth, example.predictions[variant])
                axes.set_xlabel(variant, fontsize="small")
        colours = class_colours(len(overlay.classes) - 1)
        lines = [Line2D([], [], color=c, label=name) for c, name in zip(colours, overlay.classes[1:], strict=True)]
        lines += [Line2D([], [], color="0.4", label="truth"), Line2D([], [], color="0.4", linestyle="--", label="prediction")]
        figure.legend(handles=lines, loc="outside lower center", ncols=min(6, len(lines)), frameon=False, fontsize="small")
        save_png(figure, path)
    return path
