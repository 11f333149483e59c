"""MetaImage (.mha, .mhd), NRRD (.nrrd, .nhdr) and folders of one DICOM series, through SimpleITK (``pip install '.[formats]'``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.formats.grid import Grid, canonical_grid, check_size, turned_values
from datasets.readers import check_file


def header_of(path: Path) -> Grid:
    """The grid of a file, or of the DICOM series in a folder; of a file, no voxel is read.

    Raises:
        BadInput: SimpleITK is not installed; the file is missing, damaged, too large, or of other than 3 axes.
    """
    if path.is_dir():
        return values_of(path)[1]  # one file of a series does not say how far the next one is
    with _reader(path) as reader:
        return _grid(path, reader)[0]


def values_of(path: Path) -> tuple[np.ndarray, Grid]:
    """Values (C, X, Y, Z) and the grid.

    Raises:
        BadInput: as ``header_of``.
    """
    import SimpleITK

    with _reader(path) as reader:
        if path.is_dir():
            image = SimpleITK.ReadImage(_series(path))
        else:
            grid, _ = _grid(path, reader)
            check_size(path, (*grid.shape, grid.channels), 1)
            image = reader.Execute()
        grid, turn = _grid(path, image)
        values = SimpleITK.GetArrayFromImage(image)  # z, y, x and channels
    values = values if grid.channels > 1 else values[..., None]
    values = values[None] if values.ndim == 3 else values
    return np.moveaxis(turned_values(values.transpose(2, 1, 0, 3), turn), -1, 0), grid


def _grid(path: Path, image: Any) -> tuple[Grid, np.ndarray]:
    """From what a reader or an image says; ITK's x and y run to the left and to the back."""
    axes = image.GetDimension()
    if axes not in (2, 3):
        raise BadInput(f"{path} has {axes} axes; expected 3; write a file for each volume")
    size, spacing, origin = (list(part) for part in (image.GetSize(), image.GetSpacing(), image.GetOrigin()))
    direction = np.eye(3)
    direction[:axes, :axes] = np.asarray(image.GetDirection()).reshape(axes, axes)
    if axes == 2:
        size, spacing, origin = [*size, 1], [*spacing, 1.0], [*origin, 0.0]
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = origin
    return canonical_grid(
        path,
        size,
        image.GetNumberOfComponents() if hasattr(image, "GetNumberOfComponents") else 1,
        np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine,
    )


def _series(folder: Path) -> list[str]:
    """The files of the one DICOM series in a folder, in the order of their place."""
    import SimpleITK

    series = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise BadInput(f"{folder} holds {len(series)} DICOM series; expected one; name a folder for each series")
    return list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    """SimpleITK's reader with the header read; what it raises becomes BadInput."""
    try:
        import SimpleITK
    except ImportError:
        raise BadInput(
            f"{path} needs SimpleITK, which is not installed; expected it for .mha, .mhd, .nrrd and DICOM; pip install SimpleITK,"
            " or convert the files to .nii.gz"
        ) from None
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader = SimpleITK.ImageFileReader()
        if path.is_dir():
            reader.SetFileName(_series(path)[0])
        else:
            check_file(path)
            reader.SetFileName(str(path))
        reader.ReadImageInformation()
        yield reader
    except BadInput:
        raise
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadInput(f"{path} is no image, truncated or damaged ({reason}); copy or export it again") from error
