"""Records of stores as two tables: what reports are made from. Needs neither torch nor the data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from benchmark.ground.grammar import as_typed
from benchmark.records.fingerprint import UNKNOWN
from benchmark.records.folds import as_runs
from benchmark.records.long_table import LongTable
from benchmark.records.schema import BadRecord, describe_cell
from benchmark.records.store import KEPT, CellFolder, Store

NOT_IN_TABLE = ("environment", "labelled", "traceback", "version", "effective")


@dataclass(frozen=True)
class Records:
    """What stores hold: ``cells``, a row a cell; ``cases``, the long table of metrics (columns ``cell`` and CASE_COLUMNS).

    A cell's outcome is "done", "failed", or "unfinished": asked for, and not run to its end yet. Its ``code_hash`` says which code made
    it; ``kept``, that it was used by a command whose own code was another; ``machine``, what it ran on. notes: sentences on what was left
    out, and why. The folds of a run are one row (``benchmark.records.folds``); part_of: its name, by the id of each fold's cell.
    """

    cells: pd.DataFrame
    cases: pd.DataFrame
    notes: tuple[str, ...] = ()
    part_of: dict[str, str] = field(default_factory=dict)

    def select(self, mask: pd.Series) -> Records:
        """The records of the cells for which ``mask`` holds."""
        cells = self.cells[mask]
        return replace(self, cells=cells, cases=self.cases[self.cases["cell"].isin(cells["cell"])])

    def of_cells(self, ids: set[str]) -> Records:
        """The records of these cells, and of the runs that they are folds of."""
        return self.select(self.cells["cell"].isin({self.part_of.get(cell, cell) for cell in ids}))

    def without_trials(self) -> Records:
        """Records of runs alone: trials of a tuner were scored on validation cases and stand in no leaderboard."""
        return self.select(self.cells["kind"] != "trial")


def collect(*stores: Store, code: Literal["newest", "all"] = "newest", methods: set[str] | None = None) -> Records:
    """Tables of everything that stores hold; a cell that several hold counts once. Its files' checksums are held to.

    code: of runs of one method at one budget that different code made, only those of the newest are taken, so that no mean mixes them; or
    all are, those of older code as variants of their own. methods: those read; None: all.

    Raises:
        BadInput: a store is not there.
    """
    found: dict[tuple[str, str], tuple[dict[str, Any], CellFolder]] = {}
    metrics, numbers, damaged, notes = LongTable(), dict[CellFolder, int](), dict[int, str](), list[str]()
    for store in stores:
        store.expect()
        folders, linked = store.walk()
        notes += [f"left out: {sentence}" for sentence in linked]
        for folder in folders:
            if methods is not None and folder.path.parent.name not in methods:
                continue
            try:
                row, cases = _row(folder)
            except BadRecord as error:
                notes.append(f"left out: {error}")
                continue
            if row["outcome"] == "done":
                try:
                    metrics.add(numbers.setdefault(folder, len(numbers)), cases, folder.path / "cases.csv")
                except BadRecord as error:
                    damaged[numbers[folder]] = str(error)
            key = (row["cell"], row["code_hash"] if row["outcome"] == "done" else "")
            if key not in found or found[key][0]["outcome"] != "done":
                found[key] = (row, folder)
    finished = {cell for cell, made_by in found if made_by}
    rows = [pair for (cell, made_by), pair in found.items() if made_by or cell not in finished]
    rows, earlier = _without_earlier_hashes(rows)
    rows, older = _by_code(rows, code)
    rows, changed = _by_values(rows)
    named = {numbers[folder]: row["cell"] for row, folder in rows if row["outcome"] == "done"}
    places = {number: folder for folder, number in numbers.items()}
    damaged |= {number: f"{places[number].path / 'cases.csv'} is no table of metrics" for number in metrics.finish()}
    notes += [f"left out: {damaged[number]}" for number in named if number in damaged]
    long = metrics.of({number: cell for number, cell in named.items() if number not in damaged})
    cells = [row for row, folder in rows if numbers.get(folder) not in damaged]
    cells, part_of = as_runs(cells)
    if part_of:
        long["cell"] = long["cell"].astype(str).map(lambda cell: part_of.get(cell, cell)).astype("category")
    columns = None if cells else ["cell", "kind", "outcome", "code_hash", "kept"]
    return Records(
        pd.DataFrame(cells, columns=columns),
        long,
        (*notes, *earlier, *older, *changed, *_of_unknown_code(cells), *_of_different_harness(cells)),
        part_of,
    )


def _row(folder: CellFolder) -> tuple[dict[str, Any], bytes]:
    """A cell's row, from its record or else from its plan; and the content of its table of metrics, if it is done.

    Raises:
        BadRecord: neither can be read.
    """
    whole = folder.whole("record.json", "cases.csv")
    try:
        record = folder.parse_record(whole["record.json"]) if whole else folder.read_record()
    except OSError:
        record = None
    if record is None or (record["outcome"] == "done" and not whole):
        try:
            record = describe_cell(folder.cell()) | {"outcome": "unfinished"}
        except OSError as error:
            raise BadRecord(f"{folder.path} cannot be read ({error.strerror})") from None
    elif "code" not in record:
        record["code_hash"] = UNKNOWN
    more = {"kept": folder.has(KEPT), "machine": _machine(record.get("environment") or {})}
    row = {"code_hash": UNKNOWN, "ended": ""} | {k: v for k, v in record.items() if k not in NOT_IN_TABLE} | more
    return row, whole["cases.csv"] if whole and row["outcome"] == "done" else b""


def _machine(environment: dict[str, Any]) -> str | None:
    """What a cell ran on: the GPU's name or cpu, and processor and system; None where the record does not say."""
    known = [str(environment[key]) for key in ("device", "processor", "platform") if environment.get(key)]
    return ", ".join(known) or None


def _without_earlier_hashes(
    rows: list[tuple[dict[str, Any], CellFolder]],
) -> tuple[list[tuple[dict[str, Any], CellFolder]], list[str]]:
    """The cells without those of versions that did not note their code and hashed data or rules in another way than newer cells beside
    them: of the same data or not, they cannot be compared. And a sentence on each place that this changed.
    """
    places: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row, _ in rows:
        if row["outcome"] == "done" and row["code_hash"] != UNKNOWN:
            places.setdefault((row["dataset"], row["protocol"]), set()).add((row["data_hash"], row["protocol_hash"]))
    taken, left_out = [], Counter[tuple[str, str]]()
    for row, folder in rows:
        known = places.get(place := (row["dataset"], row["protocol"]))
        if known and row["code_hash"] == UNKNOWN and (row["data_hash"], row["protocol_hash"]) not in known:
            left_out[place] += 1
        else:
            taken.append((row, folder))
    return taken, [
        f"{dataset}, {protocol}: cells of an earlier version ({count}), which hashed data and rules in another way, are left out"
        for (dataset, protocol), count in sorted(left_out.items())
    ]


SAME_ROW = ("dataset", "protocol", "kind", "labels", "variant")
"""What makes two cells runs of one row of a leaderboard."""


def _by_code(
    rows: list[tuple[dict[str, Any], CellFolder]], code: Literal["newest", "all"]
) -> tuple[list[tuple[dict[str, Any], CellFolder]], list[str]]:
    """The cells without those of older code, or with their code in their variant's name; and a sentence on each row that this changed.

    The newest code of a row is that of its newest finished cell. What failed or has not run belongs to it.
    """
    newest: dict[tuple[Any, ...], tuple[str, bool, str]] = {}
    codes: dict[tuple[Any, ...], Counter[str]] = {}
    for row, _ in rows:
        if row["outcome"] == "done":
            place = tuple(row[key] for key in SAME_ROW)
            age = (row["ended"], row["code_hash"] != UNKNOWN, row["code_hash"])
            newest[place] = max(newest.get(place, age), age)
            codes.setdefault(place, Counter())[row["code_hash"]] += 1
    taken, notes = [], []
    for row, folder in rows:
        place = tuple(row[key] for key in SAME_ROW)
        if row["outcome"] != "done" or row["code_hash"] == newest[place][-1]:
            taken.append((row, folder))
        elif code == "all":
            changed = {"cell": f"{row['cell']}@{row['code_hash']}", "variant": f"{row['variant']} (code {row['code_hash']})"}
            taken.append((row | changed, folder))
    for place, counts in sorted(codes.items(), key=lambda item: tuple(map(str, item[0]))):
        if place[2] == "trial":
            continue
        older = [f"{count} by {code_hash}" for code_hash, count in sorted(counts.items()) if code_hash != newest[place][-1]]
        if older:
            dataset, protocol, _, labels, variant = place
            what = "stand in rows of their own" if code == "all" else "are left out (--code all shows them)"
            notes.append(
                f"{variant}, {labels} labelled, {dataset}, {protocol}: made by different code; the newest is {newest[place][-1]},"
                f" and the runs of older code ({', '.join(older)}) {what}"
            )
    return taken, notes


def _by_values(rows: list[tuple[dict[str, Any], CellFolder]]) -> tuple[list[tuple[dict[str, Any], CellFolder]], list[str]]:
    """The cells, those with other values than the newest of their name called by these: a default has changed in between. And a sentence
    on each name that this happened to. What `tune` found differs by budget, and is left as it is.
    """
    newest: dict[tuple[str, ...], tuple[tuple[Any, ...], dict[str, Any]]] = {}
    for row, _ in rows:
        if row["kind"] == "run":
            age = (row["outcome"] == "done", row["ended"], row["cell"])
            name = (row["dataset"], row["protocol"], row["variant"])
            newest[name] = max(newest.get(name, (age, row["hparams"])), (age, row["hparams"]), key=lambda pair: pair[0])
    named, notes = [], dict[str, None]()
    for row, folder in rows:
        _, now = newest.get((row["dataset"], row["protocol"], row["variant"]), ((), {}))
        other = {key: value for key, value in row["hparams"].items() if key in now and now[key] != value}
        if row["kind"] == "run" and other:
            method, _, given = row["variant"].removesuffix("]").partition("[")
            values = [*([given] if given else []), *(f"{key}={as_typed(value)}" for key, value in other.items())]
            exact = f"{method}[{','.join(values)}]"
            where = f"{row['variant']}, {row['dataset']}, {row['protocol']}"
            notes[f"{where}: the values that it stands for have changed; runs with earlier ones are called {exact}"] = None
            row = row | {"variant": exact}
        named.append((row, folder))
    return named, list(notes)


def _of_unknown_code(cells: list[dict[str, Any]]) -> list[str]:
    """A sentence on finished cells of before there were fingerprints."""
    count = sum(row["outcome"] == "done" and row["kind"] != "trial" and row["code_hash"] == UNKNOWN for row in cells)
    made = "1 finished cell was" if count == 1 else f"{count} finished cells were"
    return [f"{made} made by a version that did not note its code, which is {UNKNOWN}"] if count else []


def _of_different_harness(cells: list[dict[str, Any]]) -> list[str]:
    """A sentence for each place where different versions of training and evaluation made what stands side by side."""
    versions: dict[tuple[str, str], set[str]] = {}
    for row in cells:
        if row["outcome"] == "done" and row["kind"] != "trial":
            version = str(row["code"]["harness"]) if row.get("code") else UNKNOWN
            versions.setdefault((row["dataset"], row["protocol"]), set()).add(version)
    return [
        f"{dataset}, {protocol}: versions {', '.join(sorted(found))} of training and evaluation stand side by side; `run` brings all to one"
        for (dataset, protocol), found in sorted(versions.items())
        if len(found) > 1
    ]
