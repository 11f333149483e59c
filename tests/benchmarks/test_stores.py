"""Large stores: what is known of finished cells is not read again, and 100,000 cells come out of one file in less than 2 GB."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.ground.files import checksum
from benchmark.records.exchange import pack
from benchmark.records.packed import opened, written
from benchmark.records.status import statuses
from benchmark.records.store import Store
from benchmark.records.table import collect
from tests.benchmark.test_exchange import cell as planned
from tests.benchmark.test_exchange import finish
from tests.benchmarks.ratios import Ledger, Ratio, interleaved
from tests.reports.made_up_records import cell, record, scores

ROOT = Path(__file__).parents[2]
CELLS = 1000
COLUMNS = ("test_set", "case", "volume", "class", "network", "selection", "metric", "value")

COLLECT = """
import sys, time
from pathlib import Path
from benchmark.ground.environment import peak_memory_mb
from benchmark.records.packed import opened
from benchmark.records.table import collect
began = time.process_time()
found = collect(opened(Path(sys.argv[1])))
print(len(found.cells), len(found.cases), time.process_time() - began, peak_memory_mb("cpu"))
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """CELLS finished cells."""
    monkeypatch.setattr("os.fsync", lambda file: None)  # a store that nobody keeps
    store = Store(tmp_path / "runs")
    for seed in range(CELLS):
        finish(store, planned(seed))
    return store


def test_a_list_of_cells_that_are_known(store: Store, ledger: Ledger) -> None:
    def anew() -> None:
        (store.cache / "cells.json").unlink(missing_ok=True)
        statuses(store)

    again, first = interleaved(lambda: statuses(store), anew, rounds=3)
    ledger.add(Ratio("a list of cells: as they were last looked at", "looked at anew / again", first / again, "higher", 5))


def test_records_from_one_file(store: Store, tmp_path: Path, ledger: Ledger) -> None:
    pack(store, file := tmp_path / "records.parquet")
    packed, folders = interleaved(lambda: collect(opened(file)), lambda: collect(store), rounds=3)
    ledger.add(Ratio("records of a store for a report", "from folders / from one file", folders / packed, "higher", 1))


def test_a_hundred_thousand_cells(tmp_path: Path, ledger: Ledger) -> None:
    """Each with 10 test cases of 3 classes, 7 metrics, with the last and the best weights: 42 million rows."""
    rng, tables = np.random.default_rng(0), []
    for _ in range(100):
        values = {f"case{i}": round(float(value), 4) for i, value in enumerate(rng.random(10))}
        rows = [row for selection in ("last", "val") for row in scores(cell(), values, volumes=1, selection=selection)]
        tables.append(
            "\n".join([",".join(COLUMNS), *(",".join(str(row[name]) for name in COLUMNS) for row in rows), ""]).encode()
        )
    file = tmp_path / "records.parquet"
    places = itertools.product(range(50), range(20), (1, 3, 7, 14, 28), range(20))
    with written(file, []) as add:
        for number, (run, dataset, labels, method) in enumerate(places):
            one = cell(f"method{method:02}", labels, run, dataset=f"set{dataset}")
            content = {"cell.json": b"{}", "history.csv": b"step\n", "cases.csv": tables[number % 100]}
            content["record.json"] = json.dumps(record(**one)).encode()
            sums = {name: checksum(text) for name, text in content.items()}
            add((one["dataset"], one["method"], one["cell"]), {**content, ".done": json.dumps(sums).encode()})
    command = [sys.executable, "-c", COLLECT, str(file)]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    cells, rows_found, seconds, memory = int(told[0]), int(told[1]), float(told[2]), float(told[3]) / 1e3
    size = file.stat().st_size / 1e6
    row = [f"{cells:,}", f"{rows_found:,}", f"{seconds:.0f}", f"{memory:.2f}", f"{size:.0f}"]
    ledger.table("Records of 100,000 cells in one file", ["cells", "rows", "s of a processor", "GB", "MB of the file"], row)
    assert cells == 100_000 and rows_found == 42_000_000 and memory < 2
