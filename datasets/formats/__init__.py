"""Files of images, whatever their format: header and voxels in the orientation nearest to RAS."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.formats.grid import Grid

NIFTI = (".nii.gz", ".nii")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
PICTURES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
ENDINGS = (*NIFTI, *ITK, *PICTURES)


def ending_of(name: str) -> str:
    """A file name's ending as it is written, ``.nii.gz`` whole; empty where no format has it."""
    lower = name.lower()
    return next((name[-len(ending) :] for ending in ENDINGS if lower.endswith(ending)), "")


def stem_of(name: str) -> str:
    """A file name without its ending."""
    return name[: len(name) - len(ending_of(name))]


def header_of(path: Path) -> Grid:
    """The file's grid, from its header alone.

    Raises:
        BadInput: the file is missing, damaged, too large, of no known format, or its header is beyond what an image has.
    """
    ending = ending_of(path.name).lower()
    if ending in NIFTI or path.name.lower().endswith((".hdr", ".img", ".hdr.gz", ".img.gz")):
        from datasets.formats import nifti

        return nifti.header_of(path)
    if ending in PICTURES:
        from datasets.formats import pictures

        return pictures.header_of(path)
    if ending in ITK or path.is_dir():
        from datasets.formats import itk

        return itk.header_of(path)
    raise unknown(path)


def values_of(path: Path, mask: bool = False, frame: int | None = None) -> tuple[np.ndarray, Grid]:
    """The file's values (C, X, Y, Z), float32 but for masks and pictures, and its grid.

    mask: class numbers are expected, in one channel. frame: the one of a NIfTI series to read, from 0.

    Raises:
        BadInput: as ``header_of``; the values are no real numbers, or not one channel where a mask is expected.
    """
    ending = ending_of(path.name).lower()
    if ending in PICTURES:
        from datasets.formats import pictures

        return pictures.values_of(path, mask)
    if ending in ITK or path.is_dir():
        from datasets.formats import itk

        values, grid = itk.values_of(path, mask)
    elif ending in NIFTI:
        from datasets.formats import nifti

        values, grid = nifti.values_of(path, mask, frame)
    else:
        raise unknown(path)
    if mask and grid.channels != 1:
        raise BadInput(
            f"{path} has {grid.channels} channels; expected 3 axes of class numbers; write one class number a voxel, not a channel a class"
        )
    return values, grid


def parts_of(path: Path) -> list[Path]:
    """All files of an image: a folder's, and the one that a detached header names.

    Raises:
        BadInput: the header names no file beside it.
    """
    from datasets.formats import itk

    return itk.parts_of(path)


def unknown(path: Path) -> BadInput:
    """That a file's format is not known."""
    return BadInput(f"{path} is of no known format; expected {', '.join(ENDINGS)}; convert it, or name the file that was meant")
