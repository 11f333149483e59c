"""The one checked reading layer: files of a user's disk, read as if they were hostile.

Sizes, types and links are judged from the header, before any voxel is read; values are judged before they are handed out.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from math import prod
from pathlib import Path

import h5py
import numpy as np

from benchmark.ground.errors import BadInput
from datasets.dataset import IGNORE

MAX_VOXELS = 512 * 2**20
"""Cap on the declared size of one array: a file that claims more is refused before memory is asked for."""

MOST_PACKED, ANY_PACKED = 1100, 64 * 2**20
"""How many bytes one stored byte can become (gzip: 1,032), and how many are taken from any file without asking."""

MAX_LIST_BYTES = 16 * 2**20
LOOKED_AT = 20
"""Files of a folder that tell whether it is a DICOM series."""

SLAB = 2**18
"""Voxels that are converted at a time, so that no volume is held twice."""

ROUNDING = 1e-3
"""How far a mask's value may lie from the integer that it is: scaling in a header is not exact."""

MIN_SPACING, MAX_SPACING = 0.01, 30.0
"""Millimetres; a spacing outside is a mistake of units or of the header."""

BUILT_IN_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""HDF5 numbers of gzip, shuffle, Fletcher-32, szip, n-bit, scale-offset and lzf; any other would load a plug-in."""


def read_h5(path: Path, classes: int, labels: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """The datasets ``image`` and ``label`` of an h5 file.

    classes: number of classes, background included; labels lie in 0..classes-1.
    Returns the image as float32 and the label as uint8, of one shape; with ``labels=False`` no label is needed, and none read.

    Raises:
        BadInput: the file is missing, is no h5 file or is damaged; an array is missing, a link, stored outside the file, too
            large, empty or of a wrong type; shapes differ; a value is NaN, infinite or no class.
    """
    check_file(path)
    with reading_h5(path), h5py.File(path, "r") as file:
        image = h5_array(path, file, "image", "f")
        if not labels:
            return check_image(path, _as_float32(image)), None
        label = h5_array(path, file, "label", "uif")
        if image.shape != label.shape:
            raise BadInput(f"{path}: image is {image.shape} and label {label.shape}; expected one shape; export the file again")
        return check_image(path, _as_float32(image)), check_label(path, label[()], classes)


def _as_float32(array: h5py.Dataset) -> np.ndarray:
    """All values, converted while they are read."""
    values = np.empty(array.shape, np.float32)
    array.read_direct(values)
    return values


def read_npz(path: Path, classes: int, labels: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays ``image`` and ``label`` of an npz file; as ``read_h5``. Pickled objects are refused.

    Raises:
        BadInput: the file is missing, is no npz file or is damaged; an array is missing, too large, empty or of a wrong type;
            shapes differ; a value is NaN, infinite or no class.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            image = _read_member(path, archive, "image", "f")
            label = _read_member(path, archive, "label", "uif") if labels else None
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, NotImplementedError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise BadInput(f"{path} is not an npz file, truncated or damaged ({reason}); copy or download it again") from error
    if label is not None and image.shape != label.shape:
        raise BadInput(f"{path}: image is {image.shape} and label {label.shape}; expected one shape; export the file again")
    return check_image(path, image), None if label is None else check_label(path, label, classes)


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, kinds: str) -> np.ndarray:
    """An array of an npz file, its header judged before its values are read."""
    if f"{name}.npy" not in archive.namelist():
        raise BadInput(f"{path}: {name} is missing (found {', '.join(archive.namelist()[:8]) or 'nothing'}); replace the file")
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    if dtype.kind not in kinds or dtype.itemsize > 8:
        expected = "float" if kinds == "f" else "integers"
        raise BadInput(f"{path}: {name} is of type {dtype}; expected {expected}; replace the file")
    if not shape or not 0 < prod(shape) <= MAX_VOXELS:
        raise BadInput(f"{path}: {name} has shape {shape}; expected 1 to {MAX_VOXELS} voxels; replace the file")
    stored = min(archive.getinfo(f"{name}.npy").compress_size, path.stat().st_size)
    if prod(shape) * dtype.itemsize > most_from(stored):
        raise BadInput(
            f"{path}: {name} declares {prod(shape) * dtype.itemsize} bytes and stores {stored}; expected an array that is all there;"
            " replace the file"
        )
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def check_file(path: Path) -> None:
    """Raises BadInput unless ``path`` is a file."""
    if not os.path.isfile(path):  # unlike ``path.is_file()``, false where a folder above may not be entered
        found = "is a folder" if os.path.isdir(path) else "cannot be found"
        raise BadInput(f"{path} {found}; expected a file; complete the dataset or point --data to its top folder")


def inside(folder: Path, name: str, where: str) -> Path:
    """The file ``name`` of ``folder``, as the text at ``where`` calls it; ``name`` may be absolute.

    A name that differs from the file's in capitals, in how accents are encoded or in ``.gz`` alone is that file's.

    Raises:
        BadInput: it lies outside of the folder or is no file.
    """
    top, name = os.path.abspath(folder), name.strip()
    if "\\" in name and not os.path.lexists(os.path.join(top, name)):
        name = name.replace("\\", "/")  # a table of Windows
    found = os.path.abspath(os.path.join(top, name))
    if not Path(found).is_relative_to(top) and Path(os.path.realpath(found)).is_relative_to(os.path.realpath(top)):
        found = os.path.join(top, os.path.relpath(os.path.realpath(found), os.path.realpath(top)))
    if not Path(found).is_relative_to(top):
        raise BadInput(f"{where}: {name} lies outside of {folder}; expected paths in the folder; move or link the file there")
    path = folder / os.path.relpath(found, top)
    if not os.path.lexists(path) and (alike := [p for p in _siblings(path) if plain_name(p.name) == plain_name(path.name)]):
        path = alike[0]
    if not is_series(path):
        check_file(path)
    return path


def is_series(path: Path) -> bool:
    """Whether it is a folder with DICOM files, by their first bytes: many have no ending."""
    return path.is_dir() and any(map(_is_dicom, islice(sorted(path.iterdir()), LOOKED_AT)))


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() == ".dcm" or file.read(132)[128:] == b"DICM"


def _siblings(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir()) if os.path.isdir(path.parent) else []


def plain_name(name: str) -> str:
    """A file's name without what systems and tools change in it: capitals, the encoding of accents, and ``.gz``."""
    return unicodedata.normalize("NFC", name).casefold().removesuffix(".gz")


def most_from(stored: int) -> int:
    """How many bytes an array may have that takes ``stored`` bytes of a file."""
    return ANY_PACKED + MOST_PACKED * stored


def check_image(path: Path, image: np.ndarray) -> np.ndarray:
    """``image`` as float32.

    Raises:
        BadInput: a value is NaN or infinite, or leaves the range of float32.
    """
    with np.errstate(over="ignore"):
        image = image.astype(np.float32, copy=False)
    if bad := sum(int(np.count_nonzero(~np.isfinite(image[part]))) for part in slabs(image.shape)):
        raise BadInput(
            f"{path}: {bad} voxels of the image are NaN or infinite; expected finite intensities; give them a number, such as the"
            " background's"
        )
    return image


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Ranges of the first axis, of about SLAB voxels each."""
    step = max(1, SLAB // max(1, prod(shape[1:])))
    return (slice(start, start + step) for start in range(0, shape[0], step))


def count_values(label: np.ndarray) -> np.ndarray:
    """How many voxels of a uint8 array have each value: (256,) int64. NumPy's own count holds eight bytes a voxel."""
    counts = np.zeros(256, np.int64)
    for part in slabs(label.shape):
        counts += np.bincount(label[part].ravel(), minlength=256)
    return counts


def check_label(path: Path, label: np.ndarray, classes: int, ignore: bool = False) -> np.ndarray:
    """``label`` as uint8. ignore: whether IGNORE may stand for voxels that are no class.

    Raises:
        BadInput: a value is not within ROUNDING of one of the integers 0..classes-1 (of whatever type they are stored as).
    """
    wrong: list[np.ndarray] = []
    found = np.empty(label.shape, np.uint8)
    for part in slabs(label.shape):
        whole = np.rint(label[part]) if label.dtype.kind == "f" else label[part]
        bad = ~((whole >= 0) & (whole < classes))  # NaN compares false, so it is bad too
        if ignore:
            bad &= whole != IGNORE
        if label.dtype.kind == "f":
            bad |= np.abs(label[part] - whole) > ROUNDING
        if bad.any():
            wrong.append(label[part][bad])
        with np.errstate(invalid="ignore"):
            found[part] = whole.astype(np.uint8)
    if wrong:
        raise BadInput(
            f"{path}: the label holds {wrong[0][0]:g} in {sum(map(len, wrong))} voxels; expected integers from 0 to {classes - 1};"
            " check that the file belongs to this dataset"
        )
    return found


def read_names(path: Path) -> list[str]:
    """The lines of a list file, a name per line; blanks around a name and lines after the last one do not matter.

    Raises:
        BadInput: the list is missing, unreadable, no text or empty; a line is blank or there twice.
    """
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not names:
        raise BadInput(f"{path} is empty; expected a name per line; restore the list")
    first_line: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            raise BadInput(f"{path}, line {number} is blank; expected a name per line; remove the line")
        if name in first_line:
            raise BadInput(f"{path}: {name} is on line {first_line[name]} and on line {number}; expected once; remove one")
        first_line[name] = number
    return names


def read_text(path: Path) -> str:
    """A small UTF-8 file.

    Raises:
        BadInput: it is missing, unreadable, too large or no text.
    """
    check_file(path)
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise BadInput(f"{path} is larger than {MAX_LIST_BYTES} bytes; expected a short text; check the file")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text ({error.reason}); expected plain text; save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def hash_files(root: Path, paths: Iterable[Path], reading: str = "") -> str:
    """BLAKE2b (hex, 128 bits) of files by their path below ``root`` and their bytes; neither order nor machine matters.

    reading: of how they are read, where that changed. A folder among the paths stands for the files in it.

    Raises:
        BadInput: a file cannot be read.
    """
    total = hashlib.blake2b(reading.encode(), digest_size=16)
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, hashlib.blake2b)
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}); check that it exists and its permissions") from error
        total.update(f"{name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


@contextmanager
def reading_h5(path: Path) -> Iterator[None]:
    """Turns what h5py raises on damaged files into BadInput."""
    try:
        yield
    except PermissionError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error).strip("'\"") or type(error).__name__
        raise BadInput(f"{path} is not an h5 file, truncated or damaged ({reason}); copy or download it again") from error


def h5_array(path: Path, file: h5py.File, name: str, kinds: str) -> h5py.Dataset:
    """The dataset ``name`` with its header checked and no voxel read; ``kinds`` are the NumPy kinds of type allowed.

    Raises:
        BadInput: it is missing, a link, a group, stored outside the file, empty, too large, or of a type or a filter not allowed.
    """

    def refuse(found: str, expected: str) -> BadInput:
        return BadInput(f"{path}: {name} {found}; expected {expected}; replace the file")

    links = file.id.links  # unlike ``name in file``, looks at a link without following it
    if not links.exists(name.encode()):
        raise refuse(f"is missing (found {', '.join(sorted(file)[:8]) or 'nothing'})", "arrays called image and label")
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise refuse("is a link to another place", "an array stored in the file itself")
    array = file[name]
    if not isinstance(array, h5py.Dataset):
        raise refuse("is a group", "an array")
    if array.external or array.is_virtual:
        raise refuse("is stored outside the file", "an array stored in the file itself")
    creation = array.id.get_create_plist()
    if filters := {creation.get_filter(i)[0] for i in range(creation.get_nfilters())} - BUILT_IN_FILTERS:
        raise refuse(f"is compressed by HDF5 filter {min(filters)}", "gzip, lzf or no compression")
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        raise refuse(f"is of type {array.dtype}", "float" if kinds == "f" else "integers")
    if not array.shape or not array.size:
        raise refuse(f"is empty (shape {array.shape})", "at least one voxel")
    if max(array.size, prod(array.chunks or ())) > MAX_VOXELS:
        raise refuse(f"declares {array.size} voxels in chunks of {array.chunks}", f"at most {MAX_VOXELS}")
    if array.nbytes > most_from(array.id.get_storage_size()):
        raise refuse(f"declares {array.nbytes} bytes and stores {array.id.get_storage_size()}", "an array that is all there")
    if array.chunks:
        sizes: list[int] = []
        array.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
        least = 1 + 4 * array.fletcher32  # HDF5 takes the checksum off without looking: fewer bytes are a segmentation fault
        if sizes and min(sizes) < least:
            raise refuse(f"has a chunk of {min(sizes)} bytes", f"at least {least}, as whole chunks have")
    return array
