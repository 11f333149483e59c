"""Proves a store: what its cells say of themselves, of their data and of their scores is worked out again and compared.

A checksum tells that a file is as it was written, not that what was written is so. Here the weights predict again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from benchmark.cell.experiment import score_again
from benchmark.ground import registry
from benchmark.ground.errors import BadInput, NotAsClaimed
from benchmark.records.fingerprint import is_current
from benchmark.records.identity import Cell
from benchmark.records.schema import BadRecord, describe_cell
from benchmark.records.store import BEST, CASE_COLUMNS, WEIGHTS, CellFolder, Store
from datasets.contents import read_through
from datasets.dataset import Dataset
from datasets.draws import labelled_cases
from datasets.folds import fold_split
from datasets.preparing import prepare

FILES = ("cell.json", "record.json", "cases.csv", "history.csv")
ROUNDING, OTHER_DEVICE = 1e-6, 0.01
"""Two numbers are one within this, absolute or relative: predicted on the device and by the torch of the record, or on others, where a
few voxels on a border may fall to the other side."""
SHOWN = 5
NOT_FROM_THE_CELL = ("command", "version", "protocol_title")
"""What records of earlier versions have otherwise, or lack."""


@dataclass
class Verdict:
    """What was found out about a cell: problems, numbers that were worked out again, and those that could not be, with the reason."""

    folder: CellFolder
    title: str
    problems: list[str] = field(default_factory=list)
    checked: int = 0
    tolerance: float = ROUNDING
    unchecked: str = ""

    def __str__(self) -> str:
        numbers = f"{self.checked} numbers within {self.tolerance:g}" if self.checked else "hashes alone"
        return f"{self.folder.path.name}  {self.title}: {numbers}{'; ' * bool(self.unchecked)}{self.unchecked}"


def finished(store: Store, sample: int | None) -> list[CellFolder]:
    """The finished cells, or ``sample`` of them, drawn at random and the same each time.

    Raises:
        BadInput: there is no such store, or nothing in it is finished.
    """
    store.expect()
    done = [folder for folder in store.planned() if folder.damaged() is not None]
    if not done:
        raise BadInput(f"--store: {store.root} holds no finished cell; expected some; `run` first")
    if sample is None or sample >= len(done):
        return done
    return sorted(random.Random(0).sample(done, sample), key=lambda folder: folder.path)


def verify(
    store: Store, folders: Sequence[CellFolder], data: Path | None, device: str, tell: Callable[[int, int], None]
) -> Iterator[Verdict]:
    """Prove cells one by one. data: where it lies, for cells whose data is not in the store's cache. tell: called with (done, in all).

    Raises:
        BadInput: the data or a method of a cell is not at hand.
    """
    known: dict[tuple[str, str], Dataset | str] = {}
    with _with_writable_cache(store) as cached:
        for number, folder in enumerate(folders, 1):
            yield _verify(cached, folder, data, device, known)
            tell(number, len(folders))


@contextmanager
def _with_writable_cache(store: Store) -> Iterator[Store]:
    """The store; where it can only be read, with a cache in a temporary folder that begins as links to its own."""
    if os.access(store.root, os.W_OK):
        yield store
        return
    with TemporaryDirectory() as folder:
        for file in store.cache.rglob("*"):
            if file.is_file() and file.suffix not in (".lock", ".tmp"):
                link = Path(folder) / file.relative_to(store.cache)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.resolve())
        yield Store(store.root, Path(folder))


def _verify(
    store: Store, folder: CellFolder, data: Path | None, device: str, known: dict[tuple[str, str], Dataset | str]
) -> Verdict:
    verdict = Verdict(folder, "/".join(folder.path.parts[-3:-1]))
    weights = (folder.path / WEIGHTS).exists()
    damaged = {*(folder.damaged() or []), *(folder.damaged(*FILES) or [])} - (set() if weights else {WEIGHTS, BEST})
    verdict.problems += [f"{name} is not as it was written" for name in sorted(damaged)]
    try:
        cell, record = folder.cell(), folder.read_record()
        table = _table(folder.path / "cases.csv")
    except (OSError, ValueError, TypeError, BadRecord) as error:
        verdict.problems.append(f"a file cannot be read ({str(error).splitlines()[0]})")
        return verdict
    verdict.title = str(cell)
    verdict.problems += _identity(cell, record, folder)
    dataset = _data(cell, store, data, known)
    if isinstance(dataset, str):
        verdict.problems.append(dataset)
        return verdict
    split = fold_split(dataset, cell.fold) if cell.fold else dataset.split
    drawn = labelled_cases(cell.dataset, split.train, cell.labels, cell.draw, dataset.train_groups)
    if drawn != cell.labelled:
        verdict.problems.append(f"cell.json labels {', '.join(cell.labelled)}; draw {cell.draw} labels {', '.join(drawn)}")
    elif not weights:
        verdict.unchecked = "no weights are here, so that no number was worked out again"
    elif not is_current(cell, folder.code()):
        verdict.unchecked = "made by other code than this, so that no number was worked out again"
    else:
        _numbers(cell.model_copy(update={"data": data}), store, device, record, table, verdict)
    return verdict


def _table(file: Path) -> pd.DataFrame:
    """The long table of a cell, texts as they are."""
    types = dict.fromkeys(CASE_COLUMNS[:-1], str) | {"value": float}
    table = pd.read_csv(file, dtype=types, keep_default_na=False, na_values={"value": [""]})
    if list(table.columns) != CASE_COLUMNS:
        raise ValueError(f"cases.csv has the columns {', '.join(table.columns)}")
    return table


def _identity(cell: Cell, record: dict[str, Any], folder: CellFolder) -> Iterator[str]:
    """Where the cell's folder or its record says something else than the cell."""
    if folder.path.parts[-3:] != (where := (cell.dataset, cell.method, cell.id)):
        yield f"cell.json is that of {'/'.join(where)}"
    for key, value in json.loads(json.dumps(describe_cell(cell) | {"outcome": "done"})).items():
        if key not in NOT_FROM_THE_CELL and record.get(key) != value:
            yield f"record.json has {key} {record.get(key)!r}; from cell.json follows {value!r}"


def _data(cell: Cell, store: Store, data: Path | None, known: dict[tuple[str, str], Dataset | str]) -> Dataset | str:
    """The cell's data, all of it read and compared with its hash once a command; or what is wrong with it."""
    key = cell.dataset, cell.data_hash
    if key not in known:
        try:
            dataset = prepare(cell.dataset, data, store.datasets, data_hash=cell.data_hash)
            read_through(dataset)
            known[key] = dataset
        except NotAsClaimed as error:
            known[key] = f"data_hash: {error}"
    return known[key]


def _numbers(cell: Cell, store: Store, device: str, record: dict[str, Any], table: pd.DataFrame, verdict: Verdict) -> None:
    """Predict again and compare every number that the last weights lead to."""
    import torch

    registry.check_name("methods", cell.method)
    about = record.get("environment") or {}
    there = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    if (about.get("device"), about.get("torch")) != (there, torch.__version__):
        verdict.tolerance = OTHER_DEVICE
    try:
        truth = score_again(
            cell, store, device, bool(record.get("best_step")) and record["best_step"] == record.get("steps_done")
        )
    except BadInput:
        raise
    except Exception as error:  # weights that do not fit, or whatever a plug-in's code raises
        verdict.problems.append(f"its weights cannot be used ({type(error).__name__}: {' '.join(str(error).split())})")
        return
    if not (truth["selection"] == "val").any() and (left := int((table["selection"] == "val").sum())):
        verdict.unchecked = f"{left} of the best weights on validation, which an earlier version did not keep, not checked"
        table = table[table["selection"] != "val"]
    keys = CASE_COLUMNS[:-1]
    both = table.merge(truth, "outer", on=keys, suffixes=("", "_again"), indicator=True)
    if table.duplicated(keys).any():
        verdict.problems.append(f"cases.csv has a row twice: {_named(table[table.duplicated(keys)].iloc[0])}")
    stray = both[both["_merge"] != "both"]
    verdict.problems += [
        f"cases.csv {'has' if row['_merge'] == 'left_only' else 'lacks'} a row of {_named(row)}"
        for _, row in stray.head(SHOWN).iterrows()
    ]
    both = both[both["_merge"] == "both"]
    close = np.isclose(both["value"], both["value_again"], verdict.tolerance, verdict.tolerance, equal_nan=True)
    verdict.checked = len(both)
    wrong = both[~close]
    for _, row in wrong.head(SHOWN).iterrows():
        verdict.problems.append(
            f"{_named(row)} is {row['value']:.9g} in cases.csv; predicted again it is {row['value_again']:.9g}"
        )
    if more := sum(max(0, len(rows) - SHOWN) for rows in (stray, wrong)):
        verdict.problems.append(f"and {more} rows more")


def _named(row: pd.Series) -> str:
    return f"{row['metric']} of {row['class']} in {row['volume']} ({row['case']}, {row['test_set']}, {row['network']}, {row['selection']})"
