"""NIfTI volumes: one orientation, slices along the thick axis, intensities in [0, 1]. Read as if they were hostile."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.dataset import Volume
from datasets.readers import MAX_SPACING, MAX_VOXELS, MIN_SPACING, check_file, check_image, check_label

MAX_EXTENSION_BYTES = 16 * 2**20
HEADER_BYTES = 176
OFFSETS = {348: ("f", 108), 540: ("q", 168)}
"""By a header's size, that of NIfTI-1 or NIfTI-2: the type and place of the number of bytes before the voxels."""

PERCENTILES = (0.5, 99.5)
SOFT_TISSUE, LUNG = (-175.0, 275.0), (-1000.0, 400.0)
"""Windows of CT, Hounsfield units."""


def read_volume(
    name: str,
    case: str,
    image: Path,
    label: Path | None,
    classes: int,
    windows: tuple[tuple[float, float] | None, ...],
    percentiles: tuple[float, float] = PERCENTILES,
) -> Volume:
    """A case's volume: (C, D, H, W) with D along the axis of the widest spacing, or from foot to head where all are alike.

    label: None where it is not to be handed out. windows: for each channel its range of intensities that becomes [0, 1]; None: between
    ``percentiles`` of the channel, for modalities without a fixed scale such as MR.

    Raises:
        BadInput: as ``read_nifti``; a value is NaN or infinite, or no class.
    """
    values, spacing = read_nifti(image, channels=len(windows))
    axis = int(np.argmax(spacing)) if max(spacing) > 1.01 * min(spacing) else 2
    axes = (axis, *(i for i in (1, 0, 2) if i != axis))
    mask = None
    if label is not None:
        found, _ = read_nifti(label, like=image)
        mask = np.ascontiguousarray(check_label(label, found[0], classes).transpose(axes))
    channels = [
        _scaled(c.transpose(axes), window, percentiles) for c, window in zip(check_image(image, values), windows, strict=True)
    ]
    z, y, x = (spacing[i] for i in axes)
    return Volume(name, case, np.stack(channels), mask, (z, y, x))


def count_channels(path: Path) -> int:
    """Size of the fourth axis, 1 for a 3-D volume; from the header alone.

    Raises:
        BadInput: the file is missing or damaged.
    """
    import nibabel  # takes a while to import, and most layouts do not need it

    check_file(path)
    with _reading_nifti(path):
        check_extensions(path)
        stored: Any = nibabel.load(path)
        return int(stored.shape[3]) if len(stored.shape) == 4 else 1


def _scaled(channel: np.ndarray, window: tuple[float, float] | None, percentiles: tuple[float, float]) -> np.ndarray:
    low, high = np.percentile(channel, percentiles) if window is None else window
    return ((channel - low) / max(float(high - low), 1e-6)).clip(0, 1).astype(np.float32)


def read_nifti(path: Path, channels: int = 1, like: Path | None = None) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A NIfTI volume in the orientation nearest to RAS: values (C, X, Y, Z) as stored or scaled, and spacing (x, y, z) in mm.

    channels: how many the last axis must have; 1 for a plain 3-D volume. like: an image whose grid this one must share.

    Raises:
        BadInput: the file is missing, damaged, too large, of another number of axes or channels, or not on the same grid.
    """
    import nibabel  # takes a while to import, and most layouts do not need it

    check_file(path)
    with _reading_nifti(path):
        check_extensions(path)
        stored: Any = nibabel.load(path)
        with nibabel.openers.ImageOpener(
            str(path)
        ) as file:  # nibabel repairs such headers by guessing, so the bytes are looked at
            header = type(stored.header).from_fileobj(file, check=False)
        shape, spacing = stored.shape, header.get_zooms()[:3]
        if header["sizeof_hdr"] != header.sizeof_hdr:
            raise BadInput(
                f"{path} has a header of {header['sizeof_hdr']} bytes; expected {header.sizeof_hdr}; export it again"
            )
        expected = "3 axes" if channels == 1 else f"4 axes, the last of {channels} channels"
        if len(shape) != (3 if channels == 1 else 4) or (channels > 1 and shape[3] != channels):
            raise BadInput(f"{path} has shape {shape}; expected {expected}; replace the file")
        if not 0 < prod(shape) <= MAX_VOXELS:
            raise BadInput(f"{path} declares {prod(shape)} voxels; expected 1 to {MAX_VOXELS}; replace the file")
        if not all(MIN_SPACING <= step <= MAX_SPACING for step in spacing):
            found, expected = tuple(map(float, spacing)), f"{MIN_SPACING:g} to {MAX_SPACING:g} mm"
            raise BadInput(f"{path} has spacing {found}; expected {expected}; correct its header")
        if like is not None:
            check_extensions(like)
            image: Any = nibabel.load(like)
            if image.shape[:3] != shape[:3] or not np.allclose(image.affine, stored.affine, atol=1e-2):
                raise BadInput(f"{path} and {like} differ in shape or affine; expected one grid; export the label again")
        canonical: Any = nibabel.as_closest_canonical(stored)
        values = np.asarray(canonical.dataobj)
        x, y, z = (float(step) for step in canonical.header.get_zooms()[:3])
    if values.dtype.kind not in "uif":
        raise BadInput(f"{path} is of type {values.dtype}; expected real numbers; replace the file")
    return values[None] if channels == 1 else np.moveaxis(values, -1, 0), (x, y, z)


def check_extensions(path: Path) -> None:
    """Raises BadInput where the header goes on for more than MAX_EXTENSION_BYTES, all of which nibabel reads whatever it is asked for."""
    import nibabel

    if path.suffix in (".hdr", ".img") or path.name.endswith((".hdr.gz", ".img.gz")):
        raise BadInput(f"{path} is half of a pair; expected header and voxels in one file, .nii or .nii.gz; export it again")
    with nibabel.openers.ImageOpener(str(path)) as file:
        header = file.read(HEADER_BYTES).ljust(HEADER_BYTES, b"\0")
        sizes = {order: struct.unpack_from(f"{order}i", header)[0] for order in "<>"}
        known = {order: size for order, size in sizes.items() if size in OFFSETS}
        if not known and len(file.read(MAX_EXTENSION_BYTES)) == MAX_EXTENSION_BYTES:
            raise BadInput(f"{path} has a header of {sizes['<']} bytes; expected 348 or 540; export it again")
    for order, size in known.items():
        kind, place = OFFSETS[size]
        (offset,) = struct.unpack_from(order + kind, header, place)
        if not offset <= MAX_EXTENSION_BYTES:  # NaN is none
            raise BadInput(
                f"{path} has its voxels after {offset} bytes; expected at most {MAX_EXTENSION_BYTES}; export it again"
            )


@contextmanager
def _reading_nifti(path: Path) -> Iterator[None]:
    """Turns what nibabel raises on damaged files into BadInput."""
    try:
        yield
    except BadInput:
        raise
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except Exception as error:  # nibabel documents no common base of what damaged headers make it raise
        reason = str(error).strip() or type(error).__name__
        raise BadInput(f"{path} is not a NIfTI file, truncated or damaged ({reason}); copy or download it again") from error
