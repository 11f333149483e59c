"""Prepared datasets: all that a dataset hands out, checked once, in one HDF5 file that cells read instead of the raw files.

A lossless one lies in a store's cache under its content hash. A packed one, its intensities in 8 or 16 bits, travels to machines
without the raw data and is what ``--data`` names there; it may bring registrations along.

    manifest          JSON text: dataset, hash, classes, channels, split, groups, volumes
    image N           (C, D, H, W) float32, or uint8 or uint16 where packed; N counts the manifest's volumes
    label N           (D, H, W) uint8; absent in unlabelled volumes
    registration N    bytes of a file of the registration cache
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark import registry
from benchmark.errors import BadInput
from datasets.checks import checked, uses
from datasets.dataset import Dataset, Split, Volume
from datasets.readers import check_file, check_image, check_label, h5_array, reading_h5

LEVELS = {8: 255, 16: 65535}
PACKING: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "fletcher32": True}
"""Quick to read, checksummed and, unlike lzf, the same bytes each time."""

MAX_MANIFEST_BYTES = 64 * 2**20


class Entry(BaseModel):
    """A volume's line in the manifest."""

    name: str
    case: str
    spacing: tuple[float, float, float]
    spacing_known: bool


class Manifest(BaseModel):
    """What a prepared file says of itself."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    dataset: str
    hash: str
    bits: Literal[8, 16] | None
    classes: tuple[str, ...]
    channels: Annotated[int, Field(ge=1)]
    spacing_known: bool
    split: Split
    groups: dict[str, str]
    volumes: list[Entry]
    registrations: list[Annotated[str, Field(pattern=r"^[0-9a-f]+-(cpu|cuda)/[0-9a-f]+\.sealed$")]] = []


class Prepared(Dataset):
    """A dataset as it was prepared: the same split, draws and volumes as its source, read a volume at a time.

    Raises:
        BadInput: the file is missing, damaged, no prepared dataset, or made by a version with another format.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = path
        check_file(path)
        with reading_h5(path), h5py.File(path, "r") as file:
            text = h5_array(path, file, "manifest", "u")
            if text.size > MAX_MANIFEST_BYTES:
                raise BadInput(
                    f"{path} has a manifest of {text.size} bytes; expected at most {MAX_MANIFEST_BYTES}; prepare it again"
                )
            found = text[()].tobytes()
        try:
            self.manifest = Manifest.model_validate_json(found)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise BadInput(f"{path} is no prepared dataset of this version ({reason}); prepare it again") from None
        self.name = self.manifest.dataset
        self.classes, self.channels = self.manifest.classes, self.manifest.channels
        self.spacing_known = self.manifest.spacing_known
        known = uses(self)
        if stray := [entry.name for entry in self.manifest.volumes if entry.case not in known]:
            raise BadInput(f"{path}: {stray[0]} belongs to no case of the split; expected each volume in one; prepare it again")

    @property
    def split(self) -> Split:
        """The split of the source."""
        return self.manifest.split

    @property
    def train_groups(self) -> dict[str, str]:
        """The strata of the source."""
        return self.manifest.groups

    def content_hash(self) -> str:
        """The source's hash where nothing is lost; a hash of its own where intensities were packed."""
        return self.manifest.hash

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's volumes; see ``Dataset.read``."""
        found = []
        with reading_h5(self.file), h5py.File(self.file, "r") as file:
            for number, entry in enumerate(self.manifest.volumes):
                if entry.case == case:
                    found.append(self._volume(file, number, entry, labels))
        return tuple(found)

    def _volume(self, file: h5py.File, number: int, entry: Entry, labels: bool) -> Volume:
        bits = self.manifest.bits
        stored = h5_array(self.file, file, f"image {number}", "u" if bits else "f")[()]
        image = check_image(self.file, stored / np.float32(LEVELS[bits]) if bits else stored)
        label = None
        if labels and entry.case not in self.split.unlabelled:
            label = check_label(self.file, h5_array(self.file, file, f"label {number}", "u")[()], len(self.classes))
        return Volume(entry.name, entry.case, image, label, entry.spacing, entry.spacing_known)

    def unpack_registrations(self, folder: Path) -> None:
        """Put the registrations that came along into the cache ``folder``, beside those that are there."""
        for number, name in enumerate(self.manifest.registrations):
            if not (folder / name).exists():
                with reading_h5(self.file), h5py.File(self.file, "r") as file:
                    content = h5_array(self.file, file, f"registration {number}", "u")[()].tobytes()
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                temporary = (folder / name).with_suffix(f".{os.getpid()}.tmp")
                temporary.write_bytes(content)
                os.replace(temporary, folder / name)


@lru_cache(maxsize=4)
def open_dataset(name: str, path: Path | None) -> Dataset:
    """The dataset called ``name`` from its raw files, or from the prepared file that ``path`` names; opened once a process.

    Raises:
        BadInput: no such dataset, or its files are not in order.
    """
    kind = registry.load("datasets", name)
    if path is None or not os.path.isfile(path):
        return kind(path)
    prepared = Prepared(path)
    if prepared.name != name:
        raise BadInput(f"--data: {path} holds the dataset {prepared.name}; expected {name}; say --dataset {prepared.name}")
    return prepared


def prepare(
    name: str,
    path: Path | None,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
    content_hash: str | None = None,
) -> Prepared:
    """The dataset, checked and in the cache ``folder``. Two processes may prepare at once; a file is there whole or not at all, and one
    that is no longer as it was written is written again.

    tell: called with (cases done, in all) where it is not there yet. content_hash: of the source, where it is known already: a file of
    that hash in the cache is then opened without a look at the source.

    Raises:
        BadInput: as ``open_dataset``; a file or a value breaks a rule. Nothing is left in the cache then.
    """
    if content_hash:
        with suppress(BadInput):
            return _open_cached(_cached(folder, name, content_hash))
    source = open_dataset(name, path)
    if isinstance(source, Prepared):
        return source
    file = _cached(folder, name, source.content_hash())
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        for stale in folder.glob(f".{file.name}.*.tmp"):  # of a process that was killed: the lock is ours
            stale.unlink()
        try:
            return _open_cached(file)
        except BadInput:
            write(source, file, None, tell)
            with _replacing(_sum_of(file)) as temporary:
                temporary.write_text(_digest(file))
            return _open_cached(file)


def _cached(folder: Path, name: str, content_hash: str) -> Path:
    return folder / f"{name}-{content_hash}.h5"


def _sum_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@lru_cache(maxsize=4)
def _open_cached(file: Path) -> Prepared:
    """The file of the cache; opened, after all its bytes were compared with its sum, once a process.

    Raises:
        BadInput: it is not there or not as it was written.
    """
    if not file.is_file() or not _sum_of(file).is_file() or _sum_of(file).read_text() != _digest(file):
        raise BadInput(f"{file} is not as it was written; expected the sum in {_sum_of(file).name}; repeat the command")
    return Prepared(file)


def write(dataset: Dataset, file: Path, bits: Literal[8, 16] | None, tell: Callable[[int, int], None]) -> None:
    """Check the whole dataset and write it to ``file``, which appears when it is whole.

    bits: of each intensity; None loses nothing. tell: called with (cases done, in all).

    Raises:
        BadInput: a file or a value breaks a rule, or ``file`` cannot be written.
    """
    with _replacing(file) as temporary, h5py.File(temporary, "w") as out:
        cases = list(uses(dataset))
        done: set[str] = set()
        volumes = []
        for number, (volume, _) in enumerate(checked(dataset)):
            _write_volume(out, number, volume, bits)
            volumes.append(Entry(**{name: getattr(volume, name) for name in Entry.model_fields}))
            if volume.case not in done:
                done.add(volume.case)
                tell(len(done), len(cases))
        manifest = Manifest(
            dataset=dataset.name,
            hash=_packed_hash(dataset, bits),
            bits=bits,
            classes=dataset.classes,
            channels=dataset.channels,
            spacing_known=dataset.spacing_known,
            split=dataset.split,
            groups=dataset.train_groups,
            volumes=volumes,
        )
        _write_bytes(out, "manifest", manifest.model_dump_json().encode())


def add_registrations(file: Path, cache: Path, names: Sequence[str]) -> None:
    """Put files of the registration cache ``cache``, named relative to it, into the prepared ``file``.

    Raises:
        BadInput: ``file`` cannot be read or written.
    """
    manifest = Prepared(file).manifest.model_copy(update={"registrations": list(names)})
    with _replacing(file) as temporary:
        shutil.copyfile(file, temporary)
        with h5py.File(temporary, "r+") as out:
            for number, name in enumerate(names):
                _write_bytes(out, f"registration {number}", (cache / name).read_bytes())
            del out["manifest"]
            _write_bytes(out, "manifest", manifest.model_dump_json().encode())


@contextmanager
def _replacing(file: Path) -> Iterator[Path]:
    """A temporary file beside ``file`` that takes its place at the end, if nothing was raised."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, file)
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"{file} cannot be written ({reason}); check its folder, permissions and disk space") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write_volume(out: h5py.File, number: int, volume: Volume, bits: Literal[8, 16] | None) -> None:
    image = volume.image
    if bits:
        image = np.round(image * LEVELS[bits]).astype(np.uint8 if bits == 8 else np.uint16)
    chunks = (1, 1, *image.shape[2:])
    out.create_dataset(f"image {number}", data=image, chunks=chunks, shuffle=True, **PACKING)
    if volume.label is not None:
        out.create_dataset(f"label {number}", data=volume.label, chunks=chunks[1:], **PACKING)


def _write_bytes(out: h5py.File, name: str, content: bytes) -> None:
    out.create_dataset(name, data=np.frombuffer(content, np.uint8), chunks=(len(content),), **PACKING)


def _packed_hash(dataset: Dataset, bits: Literal[8, 16] | None) -> str:
    source = dataset.content_hash()
    lossless = bits is None or (isinstance(dataset, Prepared) and dataset.manifest.bits == bits)
    return source if lossless else hashlib.sha256(f"{source} in {bits} bits".encode()).hexdigest()[:32]
