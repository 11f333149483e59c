"""What is decided once for a dataset from the headers of all its images: along which axis to cut; and what is mixed in them, told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.formats.grid import Grid, show

AXES = ("x (left to right)", "y (back to front)", "z (foot to head)")
WIDER = 1.01
"""By how much the widest spacing must exceed the next one to be the slices' distance."""

OBLIQUE, MIXED = 20.0, 2.0
"""Degrees off the body's axes, and the factor between spacings, from which on they are told."""

NAMED = 3


@dataclass(frozen=True)
class Survey:
    """axis: of the slices, 0 to 2 for x, y, z. facts: lines to show. warnings: sentences on what is mixed or doubtful."""

    axis: int
    facts: tuple[str, ...]
    warnings: tuple[str, ...]


def slice_axis(spacing: Sequence[float] | np.ndarray) -> int:
    """The axis whose spacing (x, y, z) is wider than both others; z where none is, and so where z alone is thin."""
    axis = int(np.argmax(spacing))
    return axis if spacing[axis] > WIDER * sorted(spacing)[1] else 2


def survey(grids: Mapping[str, Grid], training: Sequence[str]) -> Survey:
    """From the grids of all volumes by name; the training volumes alone decide."""
    medians = np.median([grids[name].spacing for name in training], axis=0)
    axis = slice_axis(medians)
    codes = Counter(grid.codes for grid in grids.values())
    if not all(grid.known for grid in grids.values()):
        return Survey(2, ("slices as the files hold them, spacing not stored",), ())
    facts = [
        f"slices along {AXES[axis]}; median spacing of {len(training)} training volumes {show(medians)} mm (x, y, z)",
        f"stored as {', '.join(f'{code} ({count})' for code, count in codes.most_common())}; read as RAS",
    ]
    warnings = [*_remarks(grids)]
    spacings = np.array([grid.spacing for grid in grids.values()])
    ratio = spacings.max(0) / spacings.min(0)
    if ratio.max() > MIXED:
        mixed = int(ratio.argmax())
        warnings.append(
            f"spacing along {AXES[mixed]} differs between volumes by a factor of {ratio[mixed]:.1f}, from {spacings[:, mixed].min():.4g}"
            f" to {spacings[:, mixed].max():.4g} mm; slices of all are cut along {AXES[axis]}"
        )
    others = [name for name, grid in grids.items() if slice_axis(grid.spacing) != axis]
    if others:
        warnings.append(
            f"{named(others, len(grids), 'volumes')} have their widest spacing along another axis than the dataset; they are cut"
            f" along {AXES[axis]} all the same"
        )
    if len(codes) > 1:
        warnings.append(
            f"axes are stored in {len(codes)} orders ({', '.join(f'{code} in {count}' for code, count in codes.most_common())});"
            " all are turned to RAS"
        )
    tilted = {name: grid.tilt for name, grid in grids.items() if grid.tilt > OBLIQUE}
    if tilted:
        warnings.append(
            f"{named(list(tilted), len(grids), 'volumes')} are oblique, by up to {max(tilted.values()):.0f} degrees: slices follow the"
            " stored axis that is nearest, whose direction may differ from case to case"
        )
    return Survey(axis, tuple(facts), tuple(warnings))


def _remarks(grids: Mapping[str, Grid]) -> list[str]:
    """A sentence for each kind of doubt, with how many files have it and the first one's numbers."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, grid in grids.items():
        for kind, detail in grid.remarks:
            found.setdefault(kind, []).append((name, detail))
    return [
        f"{kind}, in {len(cases)} of {len(grids)} volumes, first in {cases[0][0]}: {cases[0][1]}"
        for kind, cases in found.items()
    ]


def named(names: Sequence[str], total: int | None, what: str) -> str:
    """``2 of 6 volumes (a, b)``: how many, and the first of them by name."""
    count = f"{len(names)} of {total} {what}" if total is not None else f"{len(names)} {what}"
    return f"{count} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
