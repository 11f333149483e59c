"""Prepared datasets: all that a dataset hands out, checked once, in one HDF5 file that cells read instead of the raw files.

A lossless one lies in a store's cache under the hash of its contents. A packed one, its intensities in 8 or 16 bits, travels to machines
without the raw data and is what ``--data`` names there; it may bring registrations along. Neither is believed: what a file holds follows
from the hashes of its volumes, each volume is compared with its hash when it is read, and a file that a user names is read through and held
to the rules that raw data keeps.

    manifest          JSON text: dataset, hash, classes, channels, split, groups, volumes
    image N           (C, D, H, W) float32, or uint8 or uint16 where packed; N counts the manifest's volumes
    label N           (D, H, W) uint8; absent in unlabelled volumes
    registration N    bytes of a file of the registration cache
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from pydantic import ValidationError

from benchmark.ground import registry
from benchmark.ground.errors import BadInput, NotAsClaimed
from benchmark.ground.files import one_at_a_time, set_aside, write_atomically
from datasets.checks import checked, uses
from datasets.contents import Entry, array_hash, digest, entry_of, hash_of, read_through
from datasets.dataset import Dataset, Split, Volume
from datasets.h5_writer import Writer, replacing, writing_h5
from datasets.likeness import Ranges, look_of, widened
from datasets.manifest import MAX_MANIFEST_BYTES, Manifest, scored_classes, shown_classes
from datasets.readers import check_file, check_image, check_label, h5_array, read_text, reading_h5
from datasets.reading import Reading, place_in

LEVELS = {8: 255, 16: 65535}
PACKING: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "fletcher32": True}
"""Quick to read, checksummed and, unlike lzf, the same bytes each time."""


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
        self.spacing_known, self.facts = self.manifest.spacing_known, self.manifest.facts
        self.licence = self.manifest.licence or self.licence
        known = uses(self)
        if stray := [entry.name for entry in self.manifest.volumes if entry.case not in known]:
            raise BadInput(f"{path}: {stray[0]} belongs to no case of the split; expected each volume in one; prepare it again")
        if self.hashed:
            self.contents = digest(self, self.manifest.volumes)
            if self.contents != self.manifest.hash:
                raise NotAsClaimed(
                    f"{path} is not what it says it is: its contents hash to {self.contents}, it claims {self.manifest.hash}; "
                    "it was edited after packing; pack the data again"
                )

    @property
    def hashed(self) -> bool:
        """Whether it lists the hashes of its volumes; files of earlier versions do not, and are read through for their hash."""
        return self.manifest.format > 1

    @property
    def split(self) -> Split:
        """The split of the source."""
        return self.manifest.split

    @property
    def has_test_set(self) -> bool:
        """That of the source."""
        return self.manifest.test_set

    @property
    def reading(self) -> Reading | None:
        """That of the source."""
        return self.manifest.reading

    @property
    def train_groups(self) -> dict[str, str]:
        """The strata of the source."""
        return self.manifest.groups

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the source, and what the labels do not show."""
        return (*self.manifest.warnings, *self.manifest.unshown())

    def scored(self, cases: Sequence[str]) -> tuple[int, ...]:
        """The foreground classes that enter the scores of these cases; see ``scored_classes``."""
        return scored_classes(self._with_classes, cases)

    @cached_property
    def _with_classes(self) -> Manifest:
        """The manifest with the classes that volumes show; a file of an earlier version is read through for them."""
        if self.manifest.shown is not None:
            return self.manifest
        volumes = (volume for case in uses(self) for volume in self.read(case, labels=True))
        return self.manifest.model_copy(update={"shown": {volume.name: shown_classes(volume) for volume in volumes}})

    def content_hash(self) -> str:
        """The hash of the contents: the source's where nothing is lost, another where intensities were packed."""
        return hash_of(self)

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
        image = check_image(self.file, _unpacked(h5_array(self.file, file, f"image {number}", "u" if bits else "f")[()], bits))
        label = None
        self._compare(entry, "image", image)
        if labels and entry.case not in self.split.unlabelled:
            label = check_label(self.file, h5_array(self.file, file, f"label {number}", "u")[()], len(self.classes), True)
            self._compare(entry, "label", label)
        return Volume(entry.name, entry.case, image, label, entry.spacing, entry.spacing_known)

    def _compare(self, entry: Entry, part: Literal["image", "label"], array: np.ndarray) -> None:
        if self.hashed and array_hash(array) != getattr(entry, part):
            raise NotAsClaimed(
                f"{self.file} is not what it says it is: the {part} of {entry.name} hashes to {array_hash(array)}, "
                f"it claims {getattr(entry, part)}; it was edited after packing; pack the data again"
            )

    def unpack_registrations(self, folder: Path) -> None:
        """Put the registrations that came along into the cache ``folder``, beside those that are there."""
        for number, name in enumerate(self.manifest.registrations):
            if not (folder / name).exists():
                with reading_h5(self.file), h5py.File(self.file, "r") as file:
                    content = h5_array(self.file, file, f"registration {number}", "u")[()].tobytes()
                write_atomically(folder / name, content)


def open_dataset(name: str, path: Path | None) -> Dataset:
    """The dataset called ``name`` from its raw files, or from the prepared file that ``path`` names; opened once a process.

    Raises:
        BadInput: no such dataset, or its files are not in order.
    """
    if path is None or not os.path.isfile(path):
        return _raw(name, path)
    _named(name, path)
    return _read_through(path, *_state(path))


@lru_cache(maxsize=4)
def _raw(name: str, path: Path | None) -> Dataset:
    return registry.load("datasets", name)(path)


def _named(name: str, path: Path) -> Prepared:
    """The prepared file that a user names, before it is read through."""
    registry.load("datasets", name)
    if path.suffix.lower() not in (".h5", ".hdf5") and not h5py.is_hdf5(path):
        raise BadInput(f"--data: {path} is a file and no prepared dataset; expected one or a folder; name the folder")
    prepared = _opened(path, *_state(path))
    if prepared.name != name:
        raise BadInput(f"--data: {path} holds the dataset {prepared.name}; expected {name}; say --dataset {prepared.name}")
    unread = {"shown": None}  # not believed: read from the labels where it is asked for
    prepared.manifest = prepared.manifest.model_copy(update=unread)
    return prepared


def _state(file: Path) -> tuple[int, ...]:
    """What is different once a file has been written again: what is cached goes by it."""
    check_file(file)
    about = file.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


@lru_cache(maxsize=4)
def _opened(file: Path, *state: int) -> Prepared:
    return Prepared(file)


@lru_cache(maxsize=4)
def _read_through(file: Path, *state: int) -> Prepared:
    """A file that a user names, its volumes compared with their hashes and held to the rules."""
    prepared = _opened(file, *state)
    prepared.contents = read_through(prepared)
    return prepared


def prepare(
    name: str,
    path: Path | None,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
    data_hash: str | None = None,
) -> Prepared:
    """The dataset, checked and in the cache ``folder``. Two processes may prepare at once; a file is there whole or not at all, and one
    that is no longer as it was written is written again.

    tell: called with (cases done, in all) where it is not there yet. data_hash: of the data, where it is known already: a file of
    those contents in the cache is then opened without a look at the source.

    Raises:
        BadInput: as ``open_dataset``; a file or a value breaks a rule (nothing is left in the cache then); the data is not ``data_hash``.
    """
    if data_hash:
        with suppress(BadInput):
            return _open_cached(_cached(folder, name, data_hash))
        if path and path.is_file() and (packed := _named(name, path)).hashed and hash_of(packed) == data_hash:
            return packed  # was read through where the hash was asked for; what is read of it is compared all the same
    source = open_dataset(name, path)
    prepared = source if isinstance(source, Prepared) else _through_cache(source, folder, tell)
    if data_hash and hash_of(prepared) != data_hash:
        raise NotAsClaimed(
            f"{path or name} holds other data than was asked for: its contents hash to {hash_of(prepared)}, expected {data_hash};"
            " name the data that the cells were planned for"
        )
    return prepared


def _through_cache(source: Dataset, folder: Path, tell: Callable[[int, int], None]) -> Prepared:
    """The raw data as its file in the cache, written where there is none, found by the hash of the raw files."""
    known = _known(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(known.with_suffix(".lock")):
        for stale in folder.glob(f".{known.stem}.*.tmp"):  # of a process that was killed: the lock is ours
            stale.unlink()
        try:
            prepared = _open_cached(_cached(folder, source.name, read_text(known)))
        except BadInput:
            _set_damaged_aside(known, folder, source.name)
            contents = write(source, written := known.with_suffix(".h5"), None, tell)
            file = _cached(folder, source.name, contents)
            os.replace(written, file)
            for note, text in ((_sum_of(file), _sum(file)), (known, contents)):
                write_atomically(note, text.encode())
            prepared = _open_cached(file)
    source.contents = hash_of(prepared)
    return prepared


def _set_damaged_aside(known: Path, folder: Path, name: str) -> None:
    """Of what is there for raw data and cannot be used: what misleads, the note or the prepared file."""
    try:
        file = _cached(folder, name, read_text(known))
    except BadInput:
        file = known
    found = file if os.path.lexists(file) else known
    if os.path.lexists(found):
        set_aside(found, "is not as it was written, or leads to nothing")


def recall(source: Dataset, folder: Path) -> None:
    """Let a dataset that is in the cache have its hash from there: nothing is read through, and nothing written."""
    with suppress(BadInput):
        source.contents = hash_of(_open_cached(_cached(folder, source.name, read_text(_known(source, folder)))))


def _known(source: Dataset, folder: Path) -> Path:
    """Where the hash of the contents of raw files is noted."""
    return folder / f"{source.name}-{source.content_hash()}.contents"


def _cached(folder: Path, name: str, data_hash: str) -> Path:
    return folder / f"{name}-{data_hash}.h5"


def _sum_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _open_cached(file: Path) -> Prepared:
    """The file of the cache; opened, after all its bytes were compared with its sum to find damage, once a process.

    Raises:
        BadInput: it is not there, not as it was written, or holds other data than its name says.
    """
    return _whole(file, *_state(file))


@lru_cache(maxsize=4)
def _whole(file: Path, *state: int) -> Prepared:
    if read_text(_sum_of(file)) != _sum(file):
        raise BadInput(f"{file} is not as it was written; expected the sum in {_sum_of(file).name}; repeat the command")
    prepared = _opened(file, *state)
    if file != _cached(file.parent, prepared.name, hash_of(prepared)):
        raise BadInput(f"{file} holds {prepared.name} {hash_of(prepared)}; expected what its name says; repeat the command")
    return prepared


def write(dataset: Dataset, file: Path, bits: Literal[8, 16] | None, tell: Callable[[int, int], None]) -> str:
    """Check the whole dataset and write it to ``file``, which appears when it is whole; returns the hash of what is in it.

    bits: of each intensity; None loses nothing. tell: called with (cases done, in all).

    Raises:
        BadInput: a file or a value breaks a rule, or ``file`` cannot be written.
    """
    with replacing(file) as temporary, writing_h5(temporary, "w") as out:
        cases, volumes = list(uses(dataset)), list[Entry]()
        done, shown = set[str](), dict[str, tuple[int, ...]]()
        reading, seen = dataset.reading, Ranges()
        for volume, use in checked(dataset):
            volumes.append(entry_of(_write_volume(out, len(volumes), volume, bits)))
            if use in ("train", "unlabelled"):
                seen = widened(seen, look_of(volume, place_in(reading, volume.name, volume.spacing)))
            if volume.label is not None:
                shown[volume.name] = shown_classes(volume)
            if volume.case not in done:
                done.add(volume.case)
                tell(len(done), len(cases))
            del volume  # or it stays while the next is read
        manifest = Manifest(
            dataset=dataset.name,
            hash=digest(dataset, volumes),
            bits=bits,
            classes=dataset.classes,
            channels=dataset.channels,
            spacing_known=dataset.spacing_known,
            split=dataset.split,
            groups=dataset.train_groups,
            volumes=volumes,
            facts=dataset.facts,
            warnings=dataset.manifest.warnings if isinstance(dataset, Prepared) else dataset.warnings,
            shown=shown,
            licence=dataset.licence,
            test_set=dataset.has_test_set,
            reading=reading,
            seen=seen,
        )
        _write_bytes(out, "manifest", manifest.model_dump_json().encode())
    return manifest.hash


def add_registrations(file: Path, cache: Path, names: Sequence[str]) -> None:
    """Put files of the registration cache ``cache``, named relative to it, into the prepared ``file``.

    Raises:
        BadInput: ``file`` cannot be read or written.
    """
    manifest = Prepared(file).manifest.model_copy(update={"registrations": list(names)})
    with replacing(file) as temporary:
        shutil.copyfile(file, temporary)
        with writing_h5(temporary, "r+") as out:
            for number, name in enumerate(names):
                _write_bytes(out, f"registration {number}", (cache / name).read_bytes())
            del out.file["manifest"]
            _write_bytes(out, "manifest", manifest.model_dump_json().encode())


def _write_volume(out: Writer, number: int, volume: Volume, bits: Literal[8, 16] | None) -> Volume:
    """Write a volume; returns it as it will be read."""
    image = volume.image
    if bits:
        image = np.round(image * LEVELS[bits]).astype(np.uint8 if bits == 8 else np.uint16)
    chunks = (1, 1, *image.shape[2:])
    out.add(f"image {number}", image, chunks=chunks, shuffle=True, **PACKING)
    if volume.label is not None:
        out.add(f"label {number}", volume.label, chunks=chunks[1:], **PACKING)
    return replace(volume, image=_unpacked(image, bits))


def _unpacked(stored: np.ndarray, bits: Literal[8, 16] | None) -> np.ndarray:
    return stored / np.float32(LEVELS[bits]) if bits else stored


def _write_bytes(out: Writer, name: str, content: bytes) -> None:
    out.add(name, np.frombuffer(content, np.uint8), chunks=(len(content),), **PACKING)
