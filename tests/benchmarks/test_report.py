"""A report on 10,000 cells: a minute of two cores, less than 1.5 GB, a page of less than 15 MB, the same bytes each time."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.records.store import CellFolder
from tests.benchmarks.ratios import Ledger
from tests.reports.made_up_records import cell, record, scores

ROOT = Path(__file__).parents[2]


def write_store(store: Path, methods: int, budgets: Iterable[int], runs: int, datasets: int = 1) -> None:
    """Finished cells of made-up methods, 10 test cases each."""
    rng = np.random.default_rng(0)
    for dataset, run, labels, method in itertools.product(range(datasets), range(runs), budgets, range(methods)):
        one = cell(f"method{method:02}", labels, run, dataset=f"set{dataset}", looks=[[80, 0.2], [400, 0.5]])
        level = 0.3 + 0.05 * np.log(labels) + 0.01 * method
        rows = []
        for selection in ("last", "val"):
            values = {f"case{i}": round(float(v), 4) for i, v in enumerate(np.clip(level + rng.normal(0, 0.1, 10), 0, 1))}
            rows += scores(one, values, volumes=1, selection=selection)
        names = ("test_set", "case", "volume", "class", "network", "selection", "metric", "value")
        lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows), ""]
        about = json.dumps(record(**one))
        folder = CellFolder(store / one["dataset"] / one["method"] / one["cell"])
        folder.finish({"cases.csv": "\n".join(lines), "record.json": about})


REPORT = """
import resource, sys, time
from benchmark.commands import app
from benchmark.ground.environment import peak_memory_mb
app(["report", "--store", sys.argv[1], "--out", sys.argv[2], "--baseline", "method00"], standalone_mode=False)
drawing = resource.getrusage(resource.RUSAGE_CHILDREN)
print(peak_memory_mb("cpu"), time.process_time() + drawing.ru_utime + drawing.ru_stime)
"""


def report(store: Path, out: Path) -> tuple[float, float]:
    """The command, in a process of its own. Returns its peak memory, GB: by its own word, for what ``wait4`` tells of a process counts
    the memory of the one that started it too; and the seconds of processors that it took, with all that draw for it.
    """
    command = [sys.executable, "-c", REPORT, store, out]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return float(told[-2]) / 1e3, float(told[-1])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 methods at 5 budgets of 5 datasets, 20 runs each."""
    store = tmp_path_factory.mktemp("large")
    write_store(store, methods=20, budgets=(1, 3, 7, 14, 28), runs=20, datasets=5)
    return store


def test_ten_thousand_cells(large: Path, tmp_path: Path, benchmark: BenchmarkFixture, ledger: Ledger) -> None:
    memory, seconds = benchmark.pedantic(lambda: report(large, tmp_path / "first"), rounds=1)
    page = (tmp_path / "first" / "index.html").stat().st_size / 1e6
    row = [f"{benchmark.stats.stats.max:.0f}", f"{seconds:.0f}", f"{memory:.2f}", f"{page:.1f}"]
    ledger.table("A report on 10,000 cells", ["s", "s of processors", "GB", "MB of the page"], row)
    assert memory < 1.5 and page < 15 and seconds < 2 * 60
    report(large, tmp_path / "second")
    for file in (path for path in (tmp_path / "first").rglob("*") if path.is_file()):
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(tmp_path / "first")).read_bytes(), file.name
