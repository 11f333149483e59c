"""Records of a store in one Parquet file: a row a cell, the files of its folder as columns. What travels where many folders do not.

Each column is read for itself and by groups of cells, so that a report holds a few dozen MB of a file of any size. The files are as they
were in their folder, with their checksums: a packed cell is believed as little, or as much, as one in a folder.
"""

from __future__ import annotations

import errno
import json
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from benchmark.ground.files import written_atomically
from benchmark.records.store import DONE, KEPT, SMALL, CellFolder, Store

PLACE = ("dataset", "method", "cell")
FILES = (*SMALL, DONE, KEPT)
GROUP_BYTES = 32 * 2**20
TEXTS = b"benchmark.texts"
"""Of the file's metadata, the key of the store's small texts, by folder and name."""

Add = Callable[[tuple[str, ...], dict[str, bytes]], None]
"""Adds a cell: its place (dataset, method, id), and its files by name."""


def opened(path: Path) -> Store:
    """The store at ``path``: a folder, or a file of packed records."""
    return Packed(path) if path.is_file() else Store(path)


@dataclass(frozen=True)
class PackedCell(CellFolder):
    """A cell's folder that is a row of a file."""

    packed: Packed = field(compare=False, repr=False)
    row: int = field(compare=False)

    def read(self, name: str, most: int | None = None) -> bytes:
        """As in a folder."""
        content = self.packed.content(self.row, name)
        if content is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path / name))
        return content[:most]

    def has(self, name: str) -> bool:
        """As in a folder."""
        return self.packed.content(self.row, name) is not None


class Packed(Store):
    """A store in a file, to be read; its report is written beside it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._file: Any = None
        self._starts = [0]
        self._group = -1
        self._columns: dict[str, Any] = {}

    @property
    def report(self) -> Path:
        """Folder of the report on this store."""
        return self.root.with_name(f"{self.root.stem}_report")

    def expect(self, named_by: str = "--store: ") -> None:
        """Raise BadInput unless the file is one of packed records."""
        if self._file is not None:
            return
        import pyarrow as pa
        from pyarrow import parquet

        try:
            file = parquet.ParquetFile(self.root)
        except (OSError, pa.ArrowException) as error:
            raise BadInput(
                f"{named_by}{self.root} cannot be read as Parquet ({str(error).splitlines()[0]}); expected {WHAT}"
            ) from None
        if missing := [name for name in (*PLACE, *FILES) if name not in file.schema_arrow.names]:
            raise BadInput(f"{named_by}{self.root} has no column {missing[0]}; expected {WHAT}")
        for number in range(file.num_row_groups):
            self._starts.append(self._starts[-1] + file.metadata.row_group(number).num_rows)
        self._file = file

    def walk(self) -> tuple[list[CellFolder], list[str]]:
        """As of a folder, where no link is in the way; a row that names no place for a cell is not taken.

        Raises:
            BadInput: there is one.
        """
        self.expect()
        places = [tuple(row[name] for name in PLACE) for row in self._file.read(list(PLACE)).to_pylist()]
        for place in places:
            if not all(isinstance(part, str) and re.fullmatch(r"[A-Za-z0-9_\-]{1,200}", part) for part in place):
                raise BadInput(f"{self.root}: {place!r} is no dataset, method and id of a cell; expected {WHAT}")
        return [PackedCell(self.root.joinpath(*place), self, row) for row, place in enumerate(places)], []

    def texts(self, folder: str) -> Iterator[tuple[Path, bytes | OSError]]:
        """As of a folder."""
        self.expect()
        kept = json.loads((self._file.schema_arrow.metadata or {}).get(TEXTS, b"{}"))
        yield from ((self.root / folder / name, text.encode()) for name, text in sorted(kept.get(folder, {}).items()))

    def content(self, row: int, name: str) -> bytes | None:
        """A file of the cell in this row; None where it has none. That of the cells around it is kept until cells elsewhere are read.

        Raises:
            OSError: this part of the file cannot be read.
        """
        import pyarrow as pa

        if name not in FILES:
            return None
        group = bisect_right(self._starts, row) - 1
        if group != self._group:
            self._group, self._columns = group, {}
        if name not in self._columns:
            try:
                self._columns[name] = self._file.read_row_group(group, [name]).column(0)
            except (OSError, pa.ArrowException) as error:
                raise OSError(errno.EIO, str(error).splitlines()[0], str(self.root)) from None
        found: bytes | None = self._columns[name][row - self._starts[group]].as_py()
        return found


WHAT = "a file that `export --to parquet` has written"


@contextmanager
def written(file: Path, texts: Iterable[tuple[Path, bytes | OSError]]) -> Iterator[Add]:
    """A file of packed records in the making: what it yields adds a cell. The file is there once all is well. texts: the store's."""
    import pyarrow as pa
    from pyarrow import parquet

    kept: dict[str, dict[str, str]] = {}
    for path, text in texts:
        if isinstance(text, bytes):
            kept.setdefault(path.parent.name, {})[path.name] = text.decode(errors="replace")
    columns = [*((name, pa.string()) for name in PLACE), *((name, pa.binary()) for name in FILES)]
    schema = pa.schema(columns, metadata={TEXTS: json.dumps(kept)})
    rows: list[dict[str, Any]] = []
    size = 0
    with (
        written_atomically(file) as out,
        parquet.ParquetWriter(out, schema, use_dictionary=[*PLACE], compression="zstd") as writer,
    ):

        def flush() -> None:
            nonlocal size
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()
            size = 0

        def add(place: tuple[str, ...], files: dict[str, bytes]) -> None:
            nonlocal size
            rows.append({**dict(zip(PLACE, place, strict=True)), **files})
            size += sum(map(len, files.values()))
            if size > GROUP_BYTES:
                flush()

        yield add
        flush()
