"""The metrics of many cells as one table, made a batch of cells at a time: of tens of millions of rows, texts are numbers of categories."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.records.schema import BadRecord
from benchmark.records.store import CASE_COLUMNS

COLUMNS = ["cell", *CASE_COLUMNS]
TEXTS = CASE_COLUMNS[:-1]
BATCH_BYTES = 32 * 2**20


class LongTable:
    """Cells' tables of metrics, ``add``ed one after the other."""

    def __init__(self) -> None:
        self._damaged: set[int] = set()
        self._end = 0
        self._waiting: dict[int, bytes] = {}
        self._bytes = 0
        self._numbers: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        kinds = dict.fromkeys(TEXTS, np.int8) | {"cell": np.int32, "value": np.float64}
        self._columns = {name: np.empty(0, kind) for name, kind in kinds.items()}

    def add(self, number: int, content: bytes, file: Path) -> None:
        """The table ``content`` of a cell, which has this number here.

        Raises:
            BadRecord: its columns or its quotes are not what they should be; the message names ``file``.
        """
        self._end = max(self._end, number + 1)
        self._waiting[number] = _lines(content, file)
        self._bytes += len(content)
        if self._bytes > BATCH_BYTES:
            self._take()

    def finish(self) -> set[int]:
        """Nothing more is added. Returns the numbers of what was no table."""
        self._take()
        return self._damaged

    def of(self, cells: dict[int, str]) -> pd.DataFrame:
        """Once ``finish``ed: the rows of the cells with these numbers, which are called so: columns ``cell`` and CASE_COLUMNS, texts as
        categories in alphabetical order. What was held is given up on the way.
        """
        places = np.full(self._end, -1, np.int32)
        places[list(cells)] = np.arange(len(cells))
        cell = places[self._columns.pop("cell")]
        chosen = slice(None) if (cell >= 0).all() else cell >= 0
        columns = {"cell": pd.Categorical.from_codes(cell[chosen], categories=pd.Index(list(cells.values()), dtype=str))}
        for name in TEXTS:
            texts = pd.Index(list(self._numbers[name]), dtype=str)
            order = texts.argsort()
            ranks = np.empty(len(texts), _small(len(texts)))
            ranks[order] = np.arange(len(texts))
            codes = ranks[self._columns.pop(name)[chosen]]
            columns[name] = pd.Categorical.from_codes(codes, categories=texts[order])
            if not isinstance(chosen, slice):
                columns[name] = columns[name].remove_unused_categories()
        return pd.DataFrame(columns | {"value": self._columns.pop("value")[chosen]}, copy=False)

    def _take(self) -> None:
        """Read what waits; where something of it is no table, each alone."""
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        lines = b"".join(_numbered(body, number) for number, body in waiting.items())
        try:
            if lines:
                self._keep(_read(lines))
        except ValueError:  # pyarrow's and pandas' say neither which file nor which line
            for number, body in waiting.items():
                try:
                    if lines := _numbered(body, number):
                        self._keep(_read(lines))
                except ValueError:
                    self._damaged.add(number)

    def _keep(self, table: pd.DataFrame) -> None:
        for name in ("cell", "value"):
            self._columns[name] = _longer(self._columns[name], table[name].to_numpy())
        for name in TEXTS:
            known, found = self._numbers[name], table[name].cat
            numbers = [known.setdefault(text, len(known)) for text in found.categories]
            self._columns[name] = _longer(self._columns[name], np.array(numbers, _small(len(known)))[found.codes])


def _longer(column: np.ndarray, more: np.ndarray) -> np.ndarray:
    """The column with ``more`` at its end: grown in place, where the system moves pages and no second copy comes to be."""
    column = column.astype(np.promote_types(column.dtype, more.dtype), copy=False)
    end = len(column)
    column.resize(end + len(more), refcheck=False)
    column[end:] = more
    return column


def _small(count: int) -> type[np.signedinteger[Any]]:
    """The smallest type that numbers so many categories, as pandas chooses it."""
    return np.int8 if count < 2**7 else np.int16 if count < 2**15 else np.int32


def _lines(content: bytes, file: Path) -> bytes:
    """The lines of a cell's metrics, without their header.

    Raises:
        BadRecord: they are not what they should be.
    """
    header, _, body = content.partition(b"\n")
    if header.decode(errors="replace").strip().split(",") != CASE_COLUMNS:
        raise BadRecord(f"{file} has the columns {header[:200].decode(errors='replace')!r}; expected {','.join(CASE_COLUMNS)}")
    try:
        return _without_line_ends(body) if b'"' in body else body
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadRecord(f"{file} cannot be read ({error})") from None


def _without_line_ends(body: bytes) -> bytes:
    """A table with quotes in it, where a line end may be part of a name; there it becomes a space."""
    rows = csv.reader(io.StringIO(body.decode(), newline=""))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([" ".join(value.split()) for value in row] for row in rows)
    return out.getvalue().encode()


def _numbered(body: bytes, number: int) -> bytes:
    """The lines of a cell's metrics, each after the cell's number."""
    mark = b"%d," % number
    return mark + body.rstrip(b"\n").replace(b"\n", b"\n" + mark) + b"\n" if body.strip() else b""


def _read(content: bytes) -> pd.DataFrame:
    """The table of many lines, quickly by pyarrow, or by pandas on a compute node that lacks it; the same values."""
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow
    except ImportError:
        types = dict.fromkeys(TEXTS, "str") | {"cell": "int32", "value": "float64"}
        blank = {"value": [""]}
        table = pd.read_csv(
            io.BytesIO(content),
            names=COLUMNS,
            dtype=types,
            keep_default_na=False,
            na_values=blank,
        )
        return table.astype(dict.fromkeys(TEXTS, "category"))  # only now: read as such, the case 001 would become the number 1
    kinds = dict.fromkeys(TEXTS, pa.dictionary(pa.int32(), pa.string())) | {"cell": pa.int32(), "value": pa.float64()}
    options = arrow.ConvertOptions(column_types=kinds, null_values=[""])
    return arrow.read_csv(io.BytesIO(content), arrow.ReadOptions(column_names=COLUMNS), convert_options=options).to_pandas()
