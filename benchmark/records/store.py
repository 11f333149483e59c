"""Cell folders on disk: atomic, locked, checksummed. The records here are the truth; everything else can be rebuilt from them.

    <store>/<dataset>/<method>/<cell id>/
      cell.json  history.csv  checkpoint (while running)  model.safetensors  best.safetensors  cases.csv  record.json  .left  .done

A file becomes visible only when it is whole. ``.done`` holds the checksums of the others and is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum, disk_full_is_told, file_state, make_way, read_plain, set_aside, write_atomically
from benchmark.records.fingerprint import Code
from benchmark.records.identity import Cell
from benchmark.records.leases import BUSY, LEASE_FILE, Hold, is_held, lease
from benchmark.records.schema import MAX_BYTES, BadRecord, Note, Record, parse

DONE, CHECKPOINT, PROGRESS, KEPT, LEFT = ".done", "checkpoint", ".progress", ".kept", ".left"
WEIGHTS, BEST = "model.safetensors", "best.safetensors"
"""The last weights, which are reported; and those that did best on the validation cases, where they are others."""

FILES = {"cell.json", "history.csv", WEIGHTS, BEST, "cases.csv", "record.json"}
"""What a finished cell consists of; other names count for nothing, whatever its ``.done`` says."""

SMALL = ("cell.json", "history.csv", "cases.csv", "record.json")
"""What travels of a cell."""

ABSENT = "absent:"
"""Before the checksum of a file that was left behind when its cell was exported."""

CASE_COLUMNS = ["test_set", "case", "volume", "class", "network", "selection", "metric", "value"]


@dataclass(frozen=True)
class CellFolder:
    """A cell's folder, and what may be asked of it."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The exact state for resuming; gone once the cell is finished."""
        return self.path / CHECKPOINT

    def read(self, name: str, most: int | None = None) -> bytes:
        """One of the cell's files, or its first ``most`` bytes; raises OSError as ``read_plain``."""
        return read_plain(self.path / name, most)

    def has(self, name: str) -> bool:
        """Whether there is such a file of the cell."""
        return (self.path / name).exists()

    def done(self, *names: str, replaces: str | None = None) -> bool:
        """Whether the cell is finished and every file, or those named, is as it was written; and is not the outcome ``replaces`` (a
        ``stamp``), which is to be made again.
        """
        return self.damaged(*names) == [] and (replaces is None or self.stamp() != replaces)

    def stamp(self) -> str | None:
        """What tells a cell's outcome from any other of it; None where it is not finished."""
        try:
            return checksum(self.read(DONE, MAX_BYTES))
        except OSError:
            return None

    def damaged(self, *names: str, read_all: bool = True) -> list[str] | None:
        """Of a finished cell's files, or those named, the ones that are not as they were written; None where the cell is not finished.
        What an export left out is as it should be, unless it is named.

        read_all: else weights that nobody has touched since this cell ended are not read: they may be gigabytes in a store.
        """
        sums = self._sums()
        if not sums:
            return [DONE] if sums is not None else None
        left = {} if read_all else self._left()
        untouched = {n for n in (WEIGHTS, BEST) if n in sums and left.get(n) == [sums[n], *file_state(self.path / n)]}
        asked = [name for name in names or sums if name not in untouched]
        return [name for name in asked if not self._is_whole(name, sums.get(name, ""), may_be_absent=not names)]

    def _left(self) -> dict[str, Any]:
        """Of weights, their checksum and ``file_state`` when the cell ended."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(self.read(LEFT, MAX_BYTES))
            return found if isinstance(found, dict) else {}
        return {}

    def whole(self, *names: str) -> dict[str, bytes] | None:
        """The content of these files of a finished cell; None where it is not finished, or one is not as it was written."""
        contents = {}
        sums = self._sums() or {}
        for name in names:
            try:
                contents[name] = self.read(name)
            except OSError:
                return None
            if checksum(contents[name]) != sums.get(name, "").removeprefix(ABSENT):
                return None
        return contents

    def _sums(self) -> dict[str, str] | None:
        """The checksums of a finished cell's files; none where they cannot be read, None where it is not finished."""
        try:
            content = self.read(DONE, MAX_BYTES)
        except OSError:
            return None
        try:
            sums = json.loads(content)
        except (ValueError, RecursionError):
            return {}
        known = isinstance(sums, dict) and FILES.issuperset(sums)
        return {name: str(expected) for name, expected in sums.items()} if known else {}

    def _is_whole(self, name: str, expected: str, may_be_absent: bool) -> bool:
        try:
            return checksum(self.read(name)) == expected.removeprefix(ABSENT)
        except FileNotFoundError:
            return may_be_absent and expected.startswith(ABSENT)
        except OSError:
            return False

    def read_record(self) -> dict[str, Any]:
        """The cell's record, of success or failure, as ``schema.Record``; of its fields those that it has.

        Raises:
            OSError: there is none (yet).
            BadRecord: it is no record; the message names it.
        """
        return self.parse_record(self.read("record.json", MAX_BYTES + 1))

    def parse_record(self, content: bytes) -> dict[str, Any]:
        """As ``read_record``, of content that was read already.

        Raises:
            BadRecord: it is no record.
        """
        return _plain(parse(Record, content, self.path / "record.json"))

    def cell(self) -> Cell:
        """What the cell is; raises as ``read_record``."""
        return parse(Cell, self.read("cell.json", MAX_BYTES + 1), self.path / "cell.json")

    def record(self) -> dict[str, Any] | None:
        """As ``read_record``; None where there is none or it is no record."""
        try:
            return self.read_record()
        except (OSError, BadRecord):
            return None

    def code(self) -> Code | None:
        """The code that made the cell; None where that is not known."""
        record = self.record()
        return Code(**record["code"]) if record and record.get("code") else None

    def lease(self) -> Any:
        """The cell's lock, not taken (``benchmark.records.leases``)."""
        return lease(self.path / LEASE_FILE)

    def held(self) -> bool:
        """Whether a process holds the cell; nothing in the store is taken or written by asking."""
        return is_held(self.path / LEASE_FILE)

    def _make(self) -> None:
        """Make the folder; a file in its place is set aside.

        Raises:
            BadInput: it, or one above it in the store, is a link.
        """
        for place in (self.path.parent.parent, self.path.parent, self.path):
            if place.is_symlink():
                raise BadInput(f"{place} is a link, and links in a store are not followed; put the folder itself there")
            if place.exists() and not place.is_dir():
                set_aside(place, "is no folder")
        self.path.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[Hold | None]:
        """Hold the cell; yields None where another process holds it."""
        self._make()
        make_way(self.path / LEASE_FILE)
        lock = self.lease()
        try:
            with disk_full_is_told(self.path):
                lock.acquire(timeout=0)
        except BUSY:
            yield None
            return
        try:
            yield Hold(lock)
        finally:
            lock.release()

    def tell(self, progress: dict[str, Any]) -> None:
        """Leave a note of how far the cell is, for those who watch from elsewhere; nothing depends on it."""
        with contextlib.suppress(OSError, BadInput):
            write_atomically(self.path / PROGRESS, json.dumps(progress).encode(), durable=False)

    def progress(self) -> dict[str, Any] | None:
        """The last note of who runs the cell, or ran it when it was cut off, and how far it is."""
        try:
            return parse(Note, self.read(PROGRESS, MAX_BYTES + 1), self.path / PROGRESS).model_dump()
        except (OSError, BadRecord):
            return None

    def keep(self, code: Code) -> None:
        """Note that the cell was used, as it is, by a command whose own code is ``code``: reports mark it."""
        self.write(KEPT, code.id)

    def plan(self, cell: Cell) -> None:
        """Put down what the cell is, before it runs: reports show that it was asked for."""
        content, path = cell.model_dump_json(indent=1).encode(), self.path / "cell.json"
        self._make()
        with contextlib.suppress(OSError):
            if read_plain(path) == content:
                return
        self.write(path.name, content)

    def begin(self) -> None:
        """Clear away what an attempt that failed, was killed or was damaged left, but its checkpoint."""
        self.clear(DONE, KEPT, BEST, "record.json", *(file.name for file in self.path.glob(".*.tmp")))

    def write(self, name: str, content: bytes | str) -> None:
        """Write one of the cell's files atomically."""
        write_atomically(self.path / name, _bytes(content))

    def finish(self, files: dict[str, bytes | str]) -> None:
        """Write the final files, then ``.done`` with their checksums, then drop the checkpoint."""
        for name, content in files.items():
            self.write(name, content)
        sums = {name: checksum(_bytes(content)) for name, content in files.items()}
        self.write(LEFT, json.dumps({n: [sums[n], *file_state(self.path / n)] for n in (WEIGHTS, BEST) if n in sums}))
        self.write(DONE, json.dumps(sums, indent=1))
        self.clear(CHECKPOINT, PROGRESS)

    def clear(self, *names: str) -> None:
        """Remove these of the cell's files."""
        for name in names:
            make_way(self.path / name)
            (self.path / name).unlink(missing_ok=True)


def _folders(outer: str, led_out: bool, names: tuple[str, ...]) -> list[tuple[str, bool]]:
    """The folders in a folder, or those so named, and whether a link leads there."""
    with contextlib.suppress(OSError), os.scandir(outer) as entries:
        return [(e.path, led_out or e.is_symlink()) for e in entries if e.is_dir() and (not names or e.name in names)]
    return []


def _plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json", exclude_unset=True)


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


class Store:
    """A folder of cells. cache: where prepared data and registrations are, if not in it."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root
        self.cache = cache or root / "cache"

    def expect(self, named_by: str = "--store: ") -> None:
        """Raise BadInput unless the store is there."""
        if not self.root.is_dir():
            raise BadInput(f"{named_by}there is no folder {self.root}; expected a store that `run` has written")

    def folder(self, cell: Cell) -> CellFolder:
        """Where the cell lives."""
        return CellFolder(self.root / cell.dataset / cell.method / cell.id)

    def folders(self) -> list[CellFolder]:
        """Every cell that has a record, finished or failed."""
        return [folder for folder in self.planned() if (folder.path / "record.json").exists()]

    def planned(self) -> list[CellFolder]:
        """Every cell that a command has asked for, whether it has run or not."""
        return self.walk()[0]

    def walk(self) -> tuple[list[CellFolder], list[str]]:
        """As ``planned``; and a sentence on each folder of a cell to which only a link leads, out of the store as like as not."""
        cells = self._cells()
        linked = [f"{path} is reached by a link, and links in a store are not followed" for path, led_out in cells if led_out]
        return [CellFolder(path) for path, led_out in cells if not led_out], linked

    def of_method(self, dataset: str, method: str) -> list[CellFolder]:
        """As ``planned``, of one method on one dataset."""
        return [CellFolder(path) for path, led_out in self._cells(dataset, method) if not led_out]

    def _cells(self, *names: str) -> list[tuple[Path, bool]]:
        """Folders of cells, and whether a link leads there. names: the dataset, and the method; all where none is given."""
        found = [(str(self.root), False)]
        for level in range(3):
            found = [inner for outer, led_out in found for inner in _folders(outer, led_out, names[level : level + 1])]
        cells = [pair for pair in found if any(os.path.exists(f"{pair[0]}/{name}") for name in ("cell.json", "record.json"))]
        return [(Path(path), led_out) for path, led_out in sorted(cells)]

    def texts(self, folder: str) -> Iterator[tuple[Path, bytes | OSError]]:
        """The JSON files in a folder of the store, or why one cannot be read."""
        for path in sorted((self.root / folder).glob("*.json")):
            try:
                yield path, read_plain(path, MAX_BYTES + 1)
            except OSError as error:
                yield path, error

    @property
    def registrations(self) -> Path:
        """Folder of cached registrations, shared by all cells."""
        return self.cache / "registration"

    @property
    def datasets(self) -> Path:
        """Folder of prepared datasets, which cells read."""
        return self.cache / "datasets"

    @property
    def slices(self) -> Path:
        """Folder of training sets' images at a protocol's pixels, which cells share."""
        return self.cache / "slices"

    @property
    def report(self) -> Path:
        """Folder of the report on this store.

        Raises:
            BadInput: it, or a folder in it, is a link: reports would be written elsewhere.
        """
        folder = self.root / "report"
        for place in (folder, *(Path(above) / name for above, names, _ in os.walk(folder) for name in names)):
            if place.is_symlink():
                raise BadInput(
                    f"{place} is a link, and links in a store are not followed; remove it, or write elsewhere (--out)"
                )
        return folder
