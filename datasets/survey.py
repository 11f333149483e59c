"""What is decided once for a dataset from the headers of all its images: along which axis to cut; and what is mixed in them, told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from datasets.formats.grid import Grid, show

AXES = ("x (left to right)", "y (back to front)", "z (foot to head)")
WIDER = 1.01
"""By how much the widest spacing must exceed the next one to be the slices' distance."""

OBLIQUE, MIXED = 20.0, 2.0
"""Degrees off the body's axes, and the factor between spacings, from which on they are told."""

NAMED = 3
UNTURNED = np.array([[0, 1], [1, 1], [2, 1]])


@dataclass(frozen=True)
class Survey:
    """axis: of the slices, 0 to 2 for x, y, z. facts: lines to show. warnings: sentences on what is mixed or doubtful.

    turns: of volumes whose axes x, y, z are to be turned to those of the dataset, nibabel's (3, 2); see ``stack_of``.
    """

    axis: int
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    turns: Mapping[str, np.ndarray] = field(default_factory=dict)


def slice_axis(spacing: Sequence[float] | np.ndarray) -> int:
    """The axis whose spacing (x, y, z) is wider than both others; z where none is, and so where z alone is thin."""
    axis = int(np.argmax(spacing))
    return axis if spacing[axis] > WIDER * sorted(spacing)[1] else 2


def stack_of(grids: Mapping[str, Grid], training: Sequence[str]) -> str | None:
    """The volume whose axes all others are turned to, where most training volumes are oblique stacks of thick slices; else None.

    Which axis of the body is nearest to such a stack, and from which end, differs from case to case (short axes of hearts); which axis
    of the volume whose stack is most like the others' is nearest does not.
    """
    oblique = [name for name in training if grids[name].tilt > OBLIQUE and _is_stack(grids[name].spacing)]
    if 2 * len(oblique) <= len(training):
        return None
    normals = np.array([_directions(grids[name])[:, int(np.argmax(grids[name].spacing))] for name in oblique])
    return oblique[int(np.abs(normals @ normals.T).sum(0).argmax())]


def turns_to(grid: Grid, grids: Mapping[str, Grid]) -> dict[str, np.ndarray]:
    """nibabel's turn (3, 2) of each volume's axes to the nearest ones of ``grid``, where it is one."""
    from nibabel.orientations import io_orientation

    found = {}
    for name, other in grids.items():
        between = np.eye(4)
        between[:3, :3] = _directions(grid).T @ other.affine[:3, :3]
        turn = io_orientation(between)
        if not np.array_equal(turn, UNTURNED):
            found[name] = turn
    return found


def _directions(grid: Grid) -> np.ndarray:
    """(3, 3), a column for the direction of each axis."""
    return np.asarray(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))


def _is_stack(spacing: Sequence[float]) -> bool:
    return max(spacing) > WIDER * sorted(spacing)[1]


def survey(grids: Mapping[str, Grid], training: Sequence[str]) -> Survey:
    """From the grids of all volumes by name; the training volumes alone decide."""
    if not all(grid.known for grid in grids.values()):
        return Survey(2, ("slices as the files hold them, spacing not stored",), ())
    like = stack_of(grids, training)
    turns = turns_to(grids[like], grids) if like else {}
    spacings = {name: np.array(grid.spacing)[np.argsort(turns.get(name, UNTURNED)[:, 0])] for name, grid in grids.items()}
    medians = np.median([spacings[name] for name in training], axis=0)
    axis = slice_axis(medians)
    codes = Counter(grid.codes for grid in grids.values())
    to = f"turned to the axes of {like}" if like else "read as RAS"
    facts = [
        f"slices along {AXES[axis]}; median spacing of {len(training)} training volumes {show(medians)} mm (x, y, z)",
        f"stored as {', '.join(f'{code} ({count})' for code, count in codes.most_common())}; {to}",
    ]
    warnings = [*_remarks(grids)]
    all_spacings = np.array(list(spacings.values()))
    ratio = all_spacings.max(0) / all_spacings.min(0)
    if ratio.max() > MIXED:
        mixed = int(ratio.argmax())
        low, high = all_spacings[:, mixed].min(), all_spacings[:, mixed].max()
        warnings.append(
            f"spacing along {AXES[mixed]} differs between volumes by a factor of {ratio[mixed]:.1f}, from {low:.4g} to {high:.4g} mm;"
            f" slices of all are cut along {AXES[axis]}"
        )
    others = [name for name, spacing in spacings.items() if slice_axis(spacing) != axis]
    if others:
        warnings.append(
            f"{named(others, len(grids), 'volumes')} have their widest spacing along another axis than the dataset; they are cut"
            f" along {AXES[axis]} all the same"
        )
    tilted = {name: grid.tilt for name, grid in grids.items() if grid.tilt > OBLIQUE}
    if len(codes) > 1 and not like:
        warnings.append(
            f"axes are stored in {len(codes)} orders ({', '.join(f'{code} in {count}' for code, count in codes.most_common())});"
            " all are turned to RAS"
        )
    if tilted:
        warnings.append(
            f"{named(list(tilted), len(grids), 'volumes')} are oblique, by up to {max(tilted.values()):.0f} degrees: "
            + (
                f"all volumes are turned to the axes nearest to those of {like}, so that their slices follow one another alike"
                if like
                else "slices follow the stored axis that is nearest, whose direction may differ from case to case"
            )
        )
    return Survey(axis, tuple(facts), tuple(warnings), turns)


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
