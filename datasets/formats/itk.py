"""MetaImage (.mha, .mhd), NRRD (.nrrd, .nhdr) and folders of one DICOM series, through SimpleITK (``pip install '.[formats]'``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.formats.grid import Grid, canonical_grid, check_size, show, turned_values
from datasets.readers import check_file, inside

DETACHED = {".mhd": re.compile(rb"^ElementDataFile\s*=(.*)$", re.M), ".nhdr": re.compile(rb"^data ?file:(.*)$", re.M | re.I)}
"""Headers whose voxels lie in another file, and the line that names it."""

MAX_HEADER_BYTES = 2**20
UNEVEN = 0.1
"""By what share of the usual one a distance between slices of a series may differ."""


def parts_of(path: Path) -> list[Path]:
    """The files of an image: the file itself and, after a detached header, that of its voxels; of a folder, all in it.

    Raises:
        BadInput: the header is no text, or the file that it names is not beside it.
    """
    if path.is_dir():
        return [file for file in sorted(path.iterdir()) if file.is_file()]
    pattern = DETACHED.get(path.suffix.lower())
    if pattern is None:
        return [path]
    check_file(path)
    with path.open("rb") as file:
        line = pattern.search(file.read(MAX_HEADER_BYTES))
    name = line[1].strip().decode(errors="replace") if line else "LOCAL"
    if name.upper() == "LOCAL":
        return [path]
    if name.upper().startswith("LIST") or "%" in name:
        raise BadInput(f"{path} has its voxels in several files; expected one; write it as .mha, .nrrd or .nii.gz")
    return [path, inside(path.parent, name, str(path))]


def header_of(path: Path) -> Grid:
    """The grid of a file, or of the DICOM series in a folder; no voxel is read.

    Raises:
        BadInput: SimpleITK is not installed; the file is missing, damaged, too large, or of other than 3 axes; slices of a series are
            missing.
    """
    with _opened(path) as (_, grid, _):
        return grid


def values_of(path: Path, mask: bool) -> tuple[np.ndarray, Grid]:
    """Values (C, X, Y, Z), float32 unless a mask is expected, and the grid.

    Raises:
        BadInput: as ``header_of``; values are no real numbers.
    """
    import SimpleITK

    with _opened(path) as (image, grid, turn):
        held = image()  # the view does not keep it
        voxels = SimpleITK.GetArrayViewFromImage(held)  # z, y, x and channels
        if voxels.dtype.kind not in "uif":
            raise BadInput(f"{path} is of type {voxels.dtype}; expected real numbers; export it again")
        values = np.array(voxels, voxels.dtype if mask else np.float32)
    values = values if grid.channels > 1 else values[..., None]
    values = values[None] if values.ndim == 3 else values
    return np.moveaxis(turned_values(values.transpose(2, 1, 0, 3), turn), -1, 0), grid


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Grid, np.ndarray]]:
    """What reads the image, its grid, and the turn of its axes to RAS; what SimpleITK raises becomes BadInput."""
    try:
        import SimpleITK
    except ImportError:
        raise BadInput(
            f"{path} needs SimpleITK, which is not installed; expected it for .mha, .mhd, .nrrd and DICOM; pip install SimpleITK,"
            " or convert the files to .nii.gz"
        ) from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    if not path.is_dir():
        check_file(path)
    try:
        stored = sum(part.stat().st_size for part in parts_of(path))
        files = _series(path) if path.is_dir() else [path]
        first, last = _header(files[0]), _header(files[-1])
        size, affine = _axes(path, first)
        if len(files) > 1:
            size[2] = len(files)
            affine[:3, 2] = (np.array(last.GetOrigin()) - first.GetOrigin()) / (len(files) - 1)
            _check_even(path, files)
        grid, turn = canonical_grid(path, size, first.GetNumberOfComponents(), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
        check_size(path, (*grid.shape, grid.channels), 1, stored)
        yield (lambda: SimpleITK.ReadImage([str(file) for file in files]) if len(files) > 1 else first.Execute()), grid, turn
    except BadInput:
        raise
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadInput(f"{path} is no image, truncated or damaged ({reason}); copy or export it again") from error


def _header(file: Path) -> Any:
    """SimpleITK's reader with the header of the file read."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    return reader


def _axes(path: Path, reader: Any) -> tuple[list[int], np.ndarray]:
    """Size (3) and affine (4, 4) in ITK's directions, x to the left and y to the back."""
    axes = reader.GetDimension()
    if axes not in (2, 3):
        raise BadInput(f"{path} has {axes} axes; expected 3; write a file for each volume")
    size, spacing, origin = (list(part) for part in (reader.GetSize(), reader.GetSpacing(), reader.GetOrigin()))
    direction = np.eye(3)
    direction[:axes, :axes] = np.asarray(reader.GetDirection()).reshape(axes, axes)
    if axes == 2:
        size, spacing, origin = [*size, 1], [*spacing, 1.0], [*origin, 0.0]
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = origin
    return size, affine


def _series(folder: Path) -> list[Path]:
    """The files of the one DICOM series in a folder, in the order of their place."""
    import SimpleITK

    series = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise BadInput(f"{folder} holds {len(series)} DICOM series; expected one; put each series into a folder of its own")
    return [Path(name) for name in SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])]


def _check_even(folder: Path, files: list[Path]) -> None:
    """Raises BadInput where slices of a series are missing, there twice or of several sizes: SimpleITK would read on all the same."""
    headers = [_header(file) for file in files]
    if len(sizes := {header.GetSize() for header in headers}) > 1:
        raise BadInput(
            f"{folder} holds slices of {len(sizes)} sizes; expected one; leave out what is no slice (scouts, reports)"
        )
    steps = np.linalg.norm(np.diff([header.GetOrigin() for header in headers], axis=0), axis=1)
    if np.abs(steps - np.median(steps)).max() > UNEVEN * np.median(steps) or not steps.min():
        raise BadInput(
            f"{folder} holds {len(files)} slices that lie {show([steps.min(), np.median(steps), steps.max()])} mm apart (least, median,"
            " most); expected one distance; complete the series, or give each time point a folder of its own"
        )
