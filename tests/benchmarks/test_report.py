"""A report on 10,000 cells: run with `make bench`; under a minute and 2 GB on two cores."""

import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.store import CellFolder
from tests.reports.made_up_records import cell, scores

ROOT = Path(__file__).parents[2]
METHODS, BUDGETS, DATASETS, RUNS = 20, (1, 3, 7, 14, 28), 5, 20


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 methods at 5 budgets of 5 datasets, 20 runs each, 10 test cases."""
    store = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(0)
    for dataset, run, labels, method in itertools.product(range(DATASETS), range(RUNS), BUDGETS, range(METHODS)):
        one = cell(f"method{method:02}", labels, run, dataset=f"set{dataset}", looks=[[80, 0.2], [400, 0.5]])
        level = 0.3 + 0.05 * np.log(labels) + 0.01 * method
        rows = []
        for selection in ("last", "val"):
            values = {f"case{i}": round(float(v), 4) for i, v in enumerate(np.clip(level + rng.normal(0, 0.1, 10), 0, 1))}
            rows += scores(one, values, volumes=1, selection=selection)
        names = ("test_set", "case", "volume", "class", "network", "selection", "metric", "value")
        lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows), ""]
        record = json.dumps(one | {"trial": None, "hparams": {}, "labelled": [], "environment": {}})
        folder = CellFolder(store / one["dataset"] / one["method"] / one["cell"])
        folder.finish({"cases.csv": "\n".join(lines), "record.json": record})
    return store


def test_ten_thousand_cells(large: Path, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmark",
        "report",
        "--store",
        str(large),
        "--out",
        str(tmp_path),
        "--baseline",
        "method00",
    ]
    benchmark.pedantic(lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True), rounds=1)
    benchmark.extra_info["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 2)
    benchmark.extra_info["page_mb"] = round((tmp_path / "index.html").stat().st_size / 1e6, 1)
    assert benchmark.extra_info["peak_memory_gb"] < 2 and benchmark.extra_info["page_mb"] < 10
