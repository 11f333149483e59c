"""How a dataset's files become volumes, and how masks go back: kept with the prepared data, so that new scans are read as training was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Four = tuple[float, float, float, float]
Window = tuple[float, float] | None
"""The range of intensities that becomes [0, 1]; None: between percentiles of the volume, for modalities without a fixed scale."""

RAS = "RAS"


class Place(BaseModel):
    """Where a file's voxels lie: the affine of its axes as they are stored, their codes (``LPS``), NIfTI's code of the affine's unit.

    tilt: degrees between an axis and the one of the body that it is nearest to, at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    affine: tuple[Four, Four, Four, Four]
    codes: Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")] = RAS
    unit: int = 2
    tilt: float = 0.0

    def voxel_ml(self, spacing: tuple[float, float, float]) -> float:
        """Millilitres of a voxel of ``spacing`` mm; axes that are not at right angles make it smaller."""
        axes = np.array(self.affine)[:3, :3]
        return float(np.prod(spacing) * abs(np.linalg.det(axes / np.linalg.norm(axes, axis=0)))) / 1000


class Reading(BaseModel):
    """What turns a file into a volume: the axis of its slices (0 to 2 for x, y, z), a window for each channel, or percentiles.

    values: of each class in the files' masks. arrays: the axes of ``image`` where files are h5 arrays. places: of volumes that lie in files
    with a grid, by name; any other is upright.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    axis: Literal[0, 1, 2] = 2
    windows: tuple[Window, ...]
    percentiles: tuple[float, float] = (0.0, 100.0)
    values: tuple[int, ...]
    arrays: Literal["zyx", "xyz"] | None = None
    places: dict[str, Place] = {}


def upright(spacing: tuple[float, float, float]) -> Place:
    """The place of a volume without a file's grid: axes x, y, z of ``spacing`` (z, y, x) mm from 0."""
    z, y, x = spacing
    return Place(affine=((x, 0.0, 0.0, 0.0), (0.0, y, 0.0, 0.0), (0.0, 0.0, z, 0.0), (0.0, 0.0, 0.0, 1.0)))


def place_in(reading: Reading | None, name: str, spacing: tuple[float, float, float]) -> Place:
    """The place of a dataset's volume, by its name."""
    return (reading.places.get(name) if reading else None) or upright(spacing)


def axes_of(axis: int) -> tuple[int, int, int]:
    """Which of x, y, z (0 to 2) are a volume's D, H and W, where its slices are cut along ``axis``."""
    second, third = (i for i in (1, 0, 2) if i != axis)
    return axis, second, third


def as_stored(array: np.ndarray, axis: int, place: Place) -> np.ndarray:
    """An array (D, H, W, ...) of a volume on the axes of its file, (X, Y, Z, ...) in the order and direction in which it stores them."""
    from nibabel import orientations

    upright_axes = np.argsort(axes_of(axis))
    array = array.transpose(*upright_axes, *range(3, array.ndim))
    turn = orientations.ornt_transform(orientations.axcodes2ornt(RAS), orientations.axcodes2ornt(place.codes))
    return np.asarray(orientations.apply_orientation(array, turn))


def write_nifti(path: Path, array: np.ndarray, axis: int, place: Place) -> None:
    """Write an array (D, H, W, ...) of a volume as a NIfTI file on the grid of the volume's own file; it appears when it is whole.

    Raises:
        BadInput: the disk is full.
    """
    import nibabel

    from benchmark.ground.files import write_atomically

    image = nibabel.Nifti1Image(np.ascontiguousarray(as_stored(array, axis, place)), np.array(place.affine))
    image.header["xyzt_units"] = place.unit
    content = image.to_bytes()
    if path.name.endswith(".gz"):
        import gzip

        content = gzip.compress(content, 1, mtime=0)
    write_atomically(path, content)


def class_values(label: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Class numbers as the values that the user's masks have, in the smallest type of integers that holds all of these."""
    kind = next(t for t in (np.uint8, np.int16, np.int32) if np.iinfo(t).min <= min(values) and max(values) <= np.iinfo(t).max)
    return np.asarray(values, kind)[label]
