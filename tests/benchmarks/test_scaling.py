"""Cells side by side: throughput of two jobs, and of two commands on one store, against one. Run with `make bench`; ratios of one run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.ratios import Ledger, Ratio

ROOT = Path(__file__).resolve().parents[2]
CELLS = 6


def command(store: Path, jobs: int) -> list[str]:
    grid = ["--methods", "supervised", "--labels", "1,3,7", "--runs", "2", "--protocol", "quick", "--jobs", str(jobs)]
    return [sys.executable, "-m", "benchmark", "run", *grid, "--store", str(store), "--tracking", "none"]


def seconds(store: Path, *jobs: int) -> float:
    """From the first start to the last end of commands with so many jobs each; the dataset is prepared already."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-m", "benchmark", "prepare", "--store", str(store)], cwd=ROOT, check=True, capture_output=True
    )
    began = time.monotonic()
    processes = [
        subprocess.Popen(command(store, n), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for n in jobs
    ]
    assert [process.wait() for process in processes] == [0] * len(jobs)
    assert len(list(store.glob("phantom/*/*/.done"))) == CELLS
    return time.monotonic() - began


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_are_nearly_twice_as_fast_as_one(ledger: Ledger, tmp_path: Path) -> None:
    one, two, shared = (seconds(tmp_path / str(jobs), *jobs) for jobs in ((1,), (2,), (1, 1)))
    ledger.add(Ratio("cells side by side: --jobs 2", "wall time: one job / two", one / two, "higher", 1.7))
    ledger.add(
        Ratio("cells side by side: two commands on one store", "wall time: one command / two", one / shared, "higher", 1.7)
    )
    assert one / two >= 1.7
