"""Pictures: PNG, TIFF (pages are slices), BMP and JPEG. Rows stay rows: x runs along a row, y down the rows, as they are seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.classes import COLOURED
from datasets.formats.grid import Grid, check_size
from datasets.readers import check_file

COLOURS = {"RGB": "RGB", "RGBA": "RGB", "RGBX": "RGB", "PA": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "LA": "L", "1": "L"}
"""Pillow's modes and what an image of each is read as; P goes by its palette, any other is one channel of numbers already."""


def header_of(path: Path) -> Grid:
    """The grid of a picture: one voxel is 1, since none stores a spacing that is a body's.

    Raises:
        BadInput: the file is missing, damaged or too large.
    """
    with _opened(path) as picture:
        width, height = picture.size
        return _as_grid((width, height, getattr(picture, "n_frames", 1)), 3 if _mode(picture) == "RGB" else 1)


def values_of(path: Path, mask: bool) -> tuple[np.ndarray, Grid]:
    """Values (C, X, Y, Z): one channel, or red, green and blue. mask: one number a pixel; of a palette its index, of a colour what
    ``datasets.classes.value_of`` says.

    Raises:
        BadInput: as ``header_of``; a mask was squeezed by JPEG.
    """
    if mask and path.suffix.lower() in (".jpg", ".jpeg"):
        raise BadInput(
            f"{path} is a JPEG, which blurs class numbers; expected a mask as PNG or TIFF; export it again, or round its values to the"
            " classes' and save them as PNG"
        )
    with _opened(path) as picture:
        pages = []
        for page in range(getattr(picture, "n_frames", 1)):
            picture.seek(page)
            pages.append(np.asarray(picture if mask and picture.mode in ("P", "1") else picture.convert(_mode(picture))))
        if len({page.shape for page in pages}) > 1:
            raise BadInput(f"{path} has pages of several sizes; expected one; write a file for each")
    values = np.stack(pages)  # pages, rows, columns, colours
    if mask and values.ndim == 4:
        values = _numbers(values)
    values = values.astype(np.uint8) if values.dtype == bool else values
    values = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    values = values.transpose(0, 3, 2, 1)
    return values, _as_grid(values.shape[1:], len(values))


def _numbers(colours: np.ndarray) -> np.ndarray:
    """Red, green and blue (..., 3) as one number: the grey value where they are equal, else one above all grey values."""
    red, green, blue = (colours[..., i].astype(np.int32) for i in range(3))
    return np.where((red == green) & (green == blue), red, COLOURED | red << 16 | green << 8 | blue)


def check_palettes(masks: Iterable[Path]) -> None:
    """Raises BadInput where a number stands for several colours: files that were squeezed one by one have each a palette of their own."""
    seen: dict[int, tuple[bytes, Path]] = {}
    for path in masks:
        if path.suffix.lower() not in (".png", ".tif", ".tiff", ".bmp"):
            continue
        with _opened(path) as picture:
            if picture.mode != "P":
                continue
            palette = bytes(picture.getpalette() or b"")
            used = [index for index, count in enumerate(picture.histogram()) if count]
        for index in used:
            colour = palette[3 * index : 3 * index + 3]
            first, other = seen.setdefault(index, (colour, path))
            if first != colour:
                raise BadInput(
                    f"{path}: number {index} is #{colour.hex()} in its palette and #{first.hex()} in {other.name}; expected one palette;"
                    " save the masks as RGB, whose colours are read"
                )


def _mode(picture: Any) -> str:
    """What the picture is read as."""
    if picture.mode != "P":
        return COLOURS.get(picture.mode, picture.mode)
    palette = picture.getpalette() or []
    return "L" if palette[::3] == palette[1::3] == palette[2::3] else "RGB"


def _as_grid(shape: tuple[int, ...], channels: int) -> Grid:
    return Grid((shape[0], shape[1], shape[2]), channels, np.eye(4), (1.0, 1.0, 1.0), "RAS", known=False)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Pillow's image; what it raises on damaged files becomes BadInput."""
    from PIL import Image

    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of them is told in our words
            with Image.open(path) as picture:
                check_size(path, (*picture.size, getattr(picture, "n_frames", 1), len(picture.getbands())), 1)
                yield picture
    except BadInput:
        raise
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadInput(f"{path} has more than {most} pixels; expected a picture of fewer; cut or shrink it") from error
    except Exception as error:  # a damaged picture makes Pillow raise anything
        reason = str(error).strip() or type(error).__name__
        raise BadInput(f"{path} is no picture, truncated or damaged ({reason}); copy or export it again") from error
