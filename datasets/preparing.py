"""Opening datasets: raw files are checked once and kept in a store's cache, a prepared file that a user names is read through."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import h5py

from benchmark.ground import registry
from benchmark.ground.errors import BadInput, NotAsClaimed
from benchmark.ground.files import is_whole, note_sum, one_at_a_time, set_aside, write_atomically
from datasets.contents import hash_of, read_through
from datasets.dataset import Dataset
from datasets.packing import write
from datasets.prepared import Prepared
from datasets.readers import check_file, read_text


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
            note_sum(file)
            write_atomically(known, contents.encode())
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


def _open_cached(file: Path) -> Prepared:
    """The file of the cache; opened once a process, and read through to find damage where somebody has touched it since it was written.

    Raises:
        BadInput: it is not there, not as it was written, or holds other data than its name says.
    """
    return _whole(file, *_state(file))


@lru_cache(maxsize=4)
def _whole(file: Path, *state: int) -> Prepared:
    if not is_whole(file):
        raise BadInput(f"{file} is not as it was written; expected the sum that was noted beside it; repeat the command")
    prepared = _opened(file, *state)
    if file != _cached(file.parent, prepared.name, hash_of(prepared)):
        raise BadInput(f"{file} holds {prepared.name} {hash_of(prepared)}; expected what its name says; repeat the command")
    return prepared
