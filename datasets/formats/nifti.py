"""NIfTI files: header and voxels in the orientation nearest to RAS, spacing from the affine. Read as if they were hostile."""

from __future__ import annotations

import gzip
import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.formats.grid import Grid, canonical_grid, check_size, show, turned_values
from datasets.readers import MAX_SPACING, MIN_SPACING, check_file, slabs

MAX_EXTENSION_BYTES = 16 * 2**20
HEADER_BYTES = 176
OFFSETS = {348: ("f", 108), 540: ("q", 168)}
"""By a header's size, that of NIfTI-1 or NIfTI-2: the type and place of the number of bytes before the voxels."""

UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
"""Codes of a header's unit of length that is not mm, with mm in one."""

AGREE = 0.01
"""By what share two spacings may differ that say the same."""

MOST_TURNED = 2.0
"""Degrees between a header's two forms that are not told."""

SPACING, UNIT = "the header's pixdim disagrees with the affine, which is used", "the header's unit is not mm"
QFORM = "the header's qform disagrees with its sform, which is used"


def header_of(path: Path) -> Grid:
    """The grid of a NIfTI file; no voxel is read.

    Raises:
        BadInput: the file is missing, damaged, too large, of more than 5 axes, or its header is beyond what an image has.
    """
    with _opened(path) as (_, grid, _):
        return grid


def values_of(path: Path, mask: bool = False, frame: int | None = None) -> tuple[np.ndarray, Grid]:
    """A NIfTI volume: values (C, X, Y, Z), scaled as the header says, and its grid; float32, or a mask's own integers.

    frame: the one of a 4-D series to read, from 0.

    Raises:
        BadInput: as ``header_of``; the values are no real numbers, or there is no such frame.
    """
    with _opened(path) as (stored, grid, turn):
        if frame is not None:
            if not (0 <= frame < grid.channels and len(stored.shape) == 4):
                raise BadInput(f"{path} has shape {stored.shape}; expected a frame {frame} of a 4-D series; replace the file")
            grid = replace(grid, channels=1)
        kept = stored.get_data_dtype()
        if kept.kind not in "uif":
            raise BadInput(f"{path} is of type {kept}; expected real numbers; write it as integers or floats, a file a channel")
        whole = mask and kept.kind in "ui" and stored.dataobj.slope == 1 and stored.dataobj.inter == 0
        x, y, z = _space(stored.shape)
        values = np.empty((grid.channels, z, y, x), (kept if kept.itemsize < 8 else np.int32) if whole else np.float32)
        for channel, there in enumerate(values):
            for part in slabs(there.shape):
                voxels = _slab(stored, part, channel if frame is None else frame)
                if whole and kept.itemsize == 8 and np.abs(voxels).max() > np.iinfo(np.int32).max:
                    raise BadInput(f"{path}: the label holds {voxels.max()}; expected class numbers; check that it is a mask")
                there[part] = voxels.T.reshape(-1, y, x)
        values = np.moveaxis(turned_values(np.moveaxis(values, 0, -1).transpose(2, 1, 0, 3), turn), -1, 0)
    return values, grid


def _slab(stored: Any, part: slice, channel: int) -> np.ndarray:
    """Planes of a channel: (X, Y, planes), or (X, Y) of a file with two axes."""
    there = {2: (), 3: (part,), 4: (part, channel), 5: (part, 0, channel)}[len(stored.shape)]
    return np.asarray(stored.dataobj[(slice(None), slice(None), *there)])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Grid, np.ndarray]]:
    """nibabel's image of a file, its grid, and the turn to RAS. The content tells whether it is compressed, not the name."""
    import nibabel  # takes a while to import, and most layouts do not need it

    check_file(path)
    with _reading(path), _silent():
        check_extensions(path)
        with _bytes_of(path) as file:
            size = _header_size(file.read(HEADER_BYTES))
            file.seek(0)
            kind: Any = nibabel.Nifti2Image if size == 540 else nibabel.Nifti1Image
            header = kind.header_class.from_fileobj(file, check=False)  # nibabel repairs such headers by guessing
            file.seek(0)
            stored = kind.from_stream(file)
            if header["sizeof_hdr"] != header.sizeof_hdr:
                raise BadInput(
                    f"{path} has a header of {header['sizeof_hdr']} bytes; expected {header.sizeof_hdr}; export it again"
                )
            shape = stored.shape
            if not 2 <= len(shape) <= 5 or (len(shape) == 5 and shape[3] != 1):
                raise BadInput(f"{path} has shape {shape}; expected 3 axes, or 4 with channels; replace the file")
            check_size(path, shape, stored.get_data_dtype().itemsize)
            yield (stored, *_grid(path, stored, header))


def _grid(path: Path, stored: Any, header: Any) -> tuple[Grid, np.ndarray]:
    affine, pixdim = np.asarray(stored.affine, float), np.asarray(header["pixdim"][1:4], float)
    if len(stored.shape) == 2:
        pixdim[2] = pixdim[2] or 1.0
    remarks = []
    if int(header["sform_code"]) == 0 and not all(MIN_SPACING <= abs(step) <= MAX_SPACING for step in pixdim):
        raise BadInput(  # the affine was made of these numbers
            f"{path} has spacing {show(pixdim)}; expected {MIN_SPACING:g} to {MAX_SPACING:g} mm; correct its header"
        )
    name, scale = UNITS.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if scale != 1:
        fits = all(MIN_SPACING <= size * scale <= MAX_SPACING for size in sizes)
        remarks.append((UNIT, f"{name}, spacing {show(sizes)}, " + ("converted" if fits else "taken as mm")))
        if fits:
            affine = np.diag([scale, scale, scale, 1.0]) @ affine
    if not np.allclose(pixdim, sizes, rtol=AGREE, atol=0):  # NaN compares false
        remarks.append((SPACING, f"pixdim {show(pixdim)}, affine {show(sizes)} mm"))
    elif apart := _other_form(header, sizes):
        remarks.append((QFORM, apart))
    channels = int(np.prod(stored.shape[3:], dtype=int))
    grid, turn = canonical_grid(path, _space(stored.shape), channels, affine, remarks)
    grid = replace(grid, stored=np.asarray(stored.affine, float), unit=int(header["xyzt_units"]) & 7)
    zooms = [float(step) for step in stored.header.get_zooms()[:3]]
    if grid.codes == "RAS" and len(zooms) == 3 and np.allclose(zooms, grid.spacing, rtol=1e-5, atol=0):
        grid = replace(grid, spacing=(zooms[0], zooms[1], zooms[2]))  # the same number, without the rounding of a rotation
    return grid, turn


def _other_form(header: Any, sizes: np.ndarray) -> str:
    """Where the qform puts the voxels, if that is elsewhere than the sform does: by whose turn another program goes is not known."""
    from nibabel.orientations import aff2axcodes

    if not (int(header["sform_code"]) and int(header["qform_code"])):
        return ""
    try:
        qform, sform = header.get_qform(), header.get_sform()
    except ValueError:  # a quaternion that is none
        return ""
    codes = ["".join(code or "?" for code in aff2axcodes(form)) for form in (qform, sform)]
    if codes[0] != codes[1]:
        return f"qform {codes[0]}, sform {codes[1]}"
    cosine = np.clip((qform[:3, :3] * sform[:3, :3]).sum(0) / sizes**2, -1, 1)
    if (turned := np.degrees(np.arccos(cosine)).max()) > MOST_TURNED:
        return f"axes turned by {turned:.1f} degrees"
    if np.abs(qform[:3, 3] - sform[:3, 3]).max() > sizes.max():
        return f"origin {show(qform[:3, 3])}, {show(sform[:3, 3])} mm"
    return ""


def _space(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1) if len(shape) == 2 else shape[:3]


@contextmanager
def _bytes_of(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        with gzip.open(raw) as file:
            yield file  # type: ignore[misc]


def _header_size(header: bytes) -> int:
    sizes = [struct.unpack_from(f"{order}i", header.ljust(4, b"\0"))[0] for order in "<>"]
    return next((size for size in sizes if size in OFFSETS), sizes[0])


def check_extensions(path: Path) -> None:
    """Raises BadInput where the header goes on for more than MAX_EXTENSION_BYTES, all of which nibabel reads whatever it is asked for."""
    if path.suffix in (".hdr", ".img") or path.name.endswith((".hdr.gz", ".img.gz")):
        raise BadInput(f"{path} is half of a pair; expected header and voxels in one file, .nii or .nii.gz; export it again")
    with _bytes_of(path) as file:
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
def _silent() -> Iterator[None]:
    """Keeps nibabel's own lines on headers off the terminal: what matters of them is told in ours."""
    logger = logging.getLogger("nibabel.global")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


@contextmanager
def _reading(path: Path) -> Iterator[None]:
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
