"""Pictures: PNG, TIFF (pages are slices), BMP and JPEG. Rows stay rows: x runs along a row, y down the rows, as they are seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.formats.grid import Grid, check_size
from datasets.readers import check_file

COLOURS = {"RGB": "RGB", "RGBA": "RGB", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LA": "L", "1": "L"}
"""Pillow's modes and what an image of each is read as; any other is one channel of numbers already."""


def header_of(path: Path) -> Grid:
    """The grid of a picture: one voxel is 1, since none stores a spacing that is a body's.

    Raises:
        BadInput: the file is missing, damaged or too large.
    """
    with _opened(path) as picture:
        return _grid(picture, COLOURS.get(picture.mode) == "RGB")


def values_of(path: Path, mask: bool) -> tuple[np.ndarray, Grid]:
    """Values (C, X, Y, Z): one channel, or red, green and blue. mask: one number a pixel; of a palette, its index.

    Raises:
        BadInput: as ``header_of``; a mask is in colour, or was squeezed by JPEG.
    """
    if mask and path.suffix.lower() in (".jpg", ".jpeg"):
        raise BadInput(f"{path} is a JPEG, which blurs class numbers; expected a mask as PNG or TIFF; export it again")
    with _opened(path) as picture:
        pages = []
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            as_index = mask and picture.mode in ("P", "1")
            pages.append(np.asarray(picture if as_index else picture.convert(COLOURS.get(picture.mode, picture.mode))))
        if len({page.shape for page in pages}) > 1:
            raise BadInput(f"{path} has pages of several sizes; expected one; write a file for each")
    values = np.stack(pages)  # pages, rows, columns, colours
    if mask and values.ndim == 4:
        if (values != values[..., :1]).any():
            raise BadInput(f"{path} is in colour; expected one number a pixel; write class numbers, e.g. as a grey PNG")
        values = values[..., 0]
    values = values.astype(np.uint8) if values.dtype == bool else values
    values = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    values = values.transpose(0, 3, 2, 1)
    return values, _as_grid(values.shape[1:], len(values))


def _grid(picture: Any, colour: bool) -> Grid:
    width, height = picture.size
    return _as_grid((width, height, getattr(picture, "n_frames", 1)), 3 if colour else 1)


def _as_grid(shape: tuple[int, ...], channels: int) -> Grid:
    return Grid((shape[0], shape[1], shape[2]), channels, np.eye(4), (1.0, 1.0, 1.0), "RAS", known=False)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Pillow's image; what it raises on damaged files becomes BadInput."""
    from PIL import Image

    check_file(path)
    try:
        with Image.open(path) as picture:
            check_size(path, (*picture.size, getattr(picture, "n_frames", 1), len(picture.getbands())), 1)
            yield picture
    except BadInput:
        raise
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except Exception as error:  # a damaged picture makes Pillow raise anything
        reason = str(error).strip() or type(error).__name__
        raise BadInput(f"{path} is no picture, truncated or damaged ({reason}); copy or export it again") from error
