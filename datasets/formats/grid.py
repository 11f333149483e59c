"""Where the voxels of a file lie: what its header says, in the orientation nearest to RAS, and how two headers differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import degrees, prod
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.readers import MAX_SPACING, MAX_VOXELS, MIN_SPACING, most_from

Triple = tuple[float, float, float]

DIRECTION = 1e-2
"""How far the entries of two affines may lie apart that are called one grid: mm a voxel, and mm of the origin."""

ORIGIN = 0.05
"""How far two origins may lie apart, in the finest spacing: headers round."""


@dataclass(frozen=True)
class Grid:
    """A file's header. Axes x, y, z run from left to right, from back to front and from foot to head, as near as the file's own do.

    shape: (X, Y, Z). affine: (4, 4), to mm. spacing: (x, y, z) in mm. codes: of the axes as they are stored, e.g. ``LPS``.
    stored: (4, 4), the affine of the axes as they are stored, in the file's own ``unit`` (NIfTI's code; 2 is mm).
    tilt: degrees between an axis and the one of the body that it is nearest to, at most. known: whether the file stores a spacing.
    remarks: (kind, detail) of what the header says twice and not alike.
    """

    shape: tuple[int, int, int]
    channels: int
    affine: np.ndarray
    spacing: Triple
    codes: str
    tilt: float = 0.0
    known: bool = True
    remarks: tuple[tuple[str, str], ...] = ()
    stored: np.ndarray = field(default_factory=lambda: np.eye(4))
    unit: int = 2


def canonical_grid(
    path: Path, shape: Sequence[int], channels: int, affine: np.ndarray, remarks: Sequence[tuple[str, str]] = ()
) -> tuple[Grid, np.ndarray]:
    """The grid of a file that stores axes of ``shape`` (3) under ``affine``, and nibabel's turn of its axes (3, 2) to RAS.

    Raises:
        BadInput: the affine leaves out an axis, or the spacing is beyond what a body has.
    """
    from nibabel import orientations  # takes a while to import, and not every layout needs it
    from nibabel.affines import voxel_sizes

    sizes = tuple(map(float, voxel_sizes(affine)))
    if not (np.isfinite(affine).all() and all(MIN_SPACING <= size <= MAX_SPACING for size in sizes)):
        raise BadInput(f"{path} has spacing {show(sizes)}; expected {MIN_SPACING:g} to {MAX_SPACING:g} mm; correct its header")
    turn = orientations.io_orientation(affine)
    if np.isnan(turn).any() or abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-3:
        raise BadInput(f"{path} has an affine without a third direction; expected three axes; correct its header")
    upright = affine @ orientations.inv_ornt_aff(turn, tuple(shape))
    nearest = np.abs(np.diag(upright)[:3]) / voxel_sizes(upright)
    x, y, z = (float(np.float32(size)) for size in voxel_sizes(upright))
    turned = tuple(int(n) for n in np.asarray(shape)[np.argsort(turn[:, 0])])
    grid = Grid(
        shape=(turned[0], turned[1], turned[2]),
        channels=channels,
        affine=upright,
        spacing=(x, y, z),
        codes="".join(orientations.ornt2axcodes(turn)),
        stored=affine,
        tilt=degrees(float(np.arccos(np.clip(nearest, 0, 1)).max())),
        remarks=tuple(remarks),
    )
    return grid, turn


def turned_values(values: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Values (X, Y, Z, ...) as stored, with their axes turned to RAS."""
    from nibabel import orientations

    return np.asarray(orientations.apply_orientation(values, turn))


def check_size(path: Path, shape: Sequence[int], itemsize: int, stored: int | None = None) -> None:
    """Raises BadInput where a header claims no voxel, more than may be read, or more bytes than its file can hold, however well packed.

    stored: bytes of all its files, where it has several.
    """
    if not 0 < prod(shape) <= MAX_VOXELS:
        raise BadInput(f"{path} declares {prod(shape)} voxels; expected 1 to {MAX_VOXELS}; crop or resample it")
    stored = path.stat().st_size if stored is None else stored
    if prod(shape) * itemsize > most_from(stored):
        found = f"declares {prod(shape) * itemsize} bytes and stores {stored}"
        raise BadInput(f"{path} {found}; expected an image that is all there; replace the file")


def difference(one: Grid, other: Grid) -> str:
    """In what the grid ``one`` is not that of ``other``, with numbers; empty where they are one."""
    if one.shape != other.shape:
        return f"it has {show(one.shape)} voxels and the image {show(other.shape)} (x, y, z)"
    if not np.allclose(one.spacing, other.spacing, atol=DIRECTION):
        return f"shape equal, spacing {show(one.spacing)} and {show(other.spacing)} mm"
    if not np.allclose(one.affine[:3, :3], other.affine[:3, :3], atol=DIRECTION):
        first, second = one.affine[:3, :3] / one.spacing, other.affine[:3, :3] / other.spacing
        cosine = np.clip((first * second).sum(0), -1, 1)
        return f"shape and spacing equal, axes turned by {degrees(float(np.arccos(cosine).max())):.1f} degrees"
    apart = one.affine[:3, 3] - other.affine[:3, 3]
    if np.abs(apart).max() > max(DIRECTION, ORIGIN * min(other.spacing)):
        return f"shape equal, origin moved by {show(apart)} mm"
    return ""


def show(values: Sequence[float] | np.ndarray) -> str:
    """``(1.5, 1.5, 8)``: numbers as messages give them."""
    return f"({', '.join(f'{float(value):.4g}' for value in values)})"
