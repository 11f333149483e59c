"""Records of stores as two tables: what reports are made from. Needs neither torch nor the data."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.errors import BadInput
from benchmark.grid import Cell
from benchmark.store import CASE_COLUMNS, CellFolder, Store, describe_cell

NOT_IN_TABLE = ("environment", "labelled", "traceback")


@dataclass(frozen=True)
class Records:
    """What stores hold: ``cells``, a row a cell; ``cases``, the long table of metrics (columns ``cell`` and CASE_COLUMNS).

    A cell's outcome is "done", "failed", or "unfinished": asked for, and not run to its end yet.
    """

    cells: pd.DataFrame
    cases: pd.DataFrame

    def select(self, mask: pd.Series) -> Records:
        """The records of the cells for which ``mask`` holds."""
        cells = self.cells[mask]
        return Records(cells, self.cases[self.cases["cell"].isin(cells["cell"])])

    def without_trials(self) -> Records:
        """Records of runs alone: trials of a tuner were scored on validation cases and stand in no leaderboard."""
        return self.select(self.cells["kind"] != "trial")


def collect(*stores: Store) -> Records:
    """Tables of everything that stores hold; a cell that several hold counts once. Its files' checksums are held to.

    Raises:
        BadInput: a store is not there.
    """
    cells: dict[str, dict[str, Any]] = {}
    done: dict[str, CellFolder] = {}
    for store in stores:
        if not store.root.is_dir():
            raise BadInput(f"--store: there is no folder {store.root}; expected a store that `run` has written")
        for folder in store.planned():
            row = _row(folder)
            if row is None or (row["cell"] in cells and cells[row["cell"]]["outcome"] == "done"):
                continue
            cells[row["cell"]] = row
            if row["outcome"] == "done":
                done[row["cell"]] = folder
    columns = None if cells else ["cell", "kind", "outcome"]
    rows = [_rows(folder, number) for number, folder in enumerate(done.values())]
    return Records(pd.DataFrame(list(cells.values()), columns=columns), _long_table(rows, list(done)))


def _row(folder: CellFolder) -> dict[str, Any] | None:
    """A cell's row, from its record or else from its plan; None where neither can be read."""
    record = folder.record()
    if record is None or (record["outcome"] == "done" and not folder.done("record.json", "cases.csv")):
        try:
            cell = Cell(**json.loads((folder.path / "cell.json").read_text()))
        except (OSError, ValueError):
            return None
        record = describe_cell(cell) | {"outcome": "unfinished"}
    return {key: value for key, value in record.items() if key not in NOT_IN_TABLE}


def _rows(folder: CellFolder, number: int) -> bytes:
    """The lines of a cell's metrics without their header, each after the cell's number."""
    header, _, body = (folder.path / "cases.csv").read_bytes().partition(b"\n")
    if header.decode().split(",") != CASE_COLUMNS:
        raise BadInput(f"{folder.path / 'cases.csv'} has the columns {header.decode()!r}; expected {','.join(CASE_COLUMNS)}")
    if b'"' in body:
        body = _without_line_ends(body)
    mark = b"%d," % number
    return mark + body.rstrip(b"\n").replace(b"\n", b"\n" + mark) + b"\n" if body.strip() else b""


def _without_line_ends(body: bytes) -> bytes:
    """A table with quotes in it, where a line end may be part of a name; there it becomes a space."""
    rows = csv.reader(io.StringIO(body.decode(), newline=""))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([" ".join(value.split()) for value in row] for row in rows)
    return out.getvalue().encode()


def _long_table(rows: list[bytes], cells: list[str]) -> pd.DataFrame:
    """One table of all cells' metrics, texts as categories: millions of rows stay small."""
    columns = ["cell", *CASE_COLUMNS]
    if not any(rows):
        return pd.DataFrame(columns=columns)
    table = _read(b"".join(rows), columns)
    table["cell"] = pd.Categorical.from_codes(table["cell"], categories=pd.Index(cells))
    return table


def _read(content: bytes, columns: list[str]) -> pd.DataFrame:
    """The table of millions of lines, quickly by pyarrow, or by pandas on a compute node that lacks it; the same values."""
    texts = columns[1:-1]
    try:
        import pyarrow as pa
        from pyarrow import csv as arrow
    except ImportError:
        types = dict.fromkeys(texts, "str") | {"cell": "int32", "value": "float64"}
        blank = {"value": [""]}
        table = pd.read_csv(
            io.BytesIO(content),
            names=columns,
            dtype=types,
            keep_default_na=False,
            na_values=blank,
        )
        return table.astype(dict.fromkeys(texts, "category"))  # only now: read as such, the case 001 would become the number 1
    kinds = dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string())) | {"cell": pa.int32(), "value": pa.float64()}
    options = arrow.ConvertOptions(column_types=kinds, null_values=[""])
    table = arrow.read_csv(io.BytesIO(content), arrow.ReadOptions(column_names=columns), convert_options=options).to_pandas()
    for name in texts:
        table[name] = table[name].cat.reorder_categories(sorted(table[name].cat.categories))
    return table
