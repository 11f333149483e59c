"""Two commands under fire: whatever is killed, paused, damaged or filled up, in the end every cell is done and equals that of a quiet run.

No part of the usual run: ``make chaos`` inflicts CHAOS_FAULTS (300) faults, one every few seconds, in at most CHAOS_SECONDS (2700).
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.records.store import CellFolder
from tests.chaos.faults import LEASE, Chaos
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).resolve().parents[2]
FAULTS = int(os.environ.get("CHAOS_FAULTS", "300"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "2700"))
EVERY = 4.0
SAME = ("model.safetensors", "best.safetensors", "cases.csv", "history.csv")
RUN = ["run", "--methods", "supervised,entropy_min,label_propagation,mean_teacher[rsl=true]"]
ABLATE = ["ablate", "--method", "mean_teacher", "--factors", "rsl"]
"""Two commands on one store from the first moment, which share two of ten cells."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB of its own, where this process may make one; else a folder, whose disk is never full nor read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True).returncode == 0
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def start(command: list[str], data: Path, store: Path, log: Path, tracked: bool = False) -> subprocess.Popen[bytes]:
    grid = ["--labels", "1,2", "--draws", "0", "--seeds", "0", "--protocol", "quick[steps=120]", "--jobs", "1"]
    where = ["--dataset", "acdc", "--data", str(data), "--store", str(store), *([] if tracked else ["--tracking", "none"])]
    environment = os.environ | {"BENCHMARK_LEASE_SECONDS": str(LEASE), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    with open(log, "ab") as out:
        words = [sys.executable, "-m", "benchmark", *command, *grid, *where]
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=out, stderr=out)


def finished(store: Path) -> dict[str, dict[str, bytes]]:
    """Of every cell that is done, the files that must not depend on what happened."""
    folders = [CellFolder(path.parent) for path in store.glob("acdc/*/*/.done")]
    return {
        f.path.name: {name: (f.path / name).read_bytes() for name in SAME if (f.path / name).exists()}
        for f in folders
        if f.done()
    }


class Watch(threading.Thread):
    """Counts how often each cell was finished: a new file ``.done`` each time."""

    def __init__(self, store: Path) -> None:
        super().__init__(daemon=True)
        self.store, self.seen, self.over = store, defaultdict[str, set[int]](set), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            for path in self.store.glob("acdc/*/*/.done"):
                with contextlib.suppress(OSError):
                    about = path.lstat()
                    if path.is_file() and not path.is_symlink():
                        self.seen[path.parent.name].add(about.st_ino)


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.mark.chaos
@pytest.mark.timeout(SECONDS + 1800)
def test_faults_cost_time_and_nothing_else(
    data: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, store, log = tmp_path / "quiet", small_disk / "store", tmp_path / "log"
    first = [start(command, data, quiet, tmp_path / "quiet.log") for command in (RUN, ABLATE)]
    assert [process.wait() for process in first] == [0, 0], (tmp_path / "quiet.log").read_text()[-3000:]
    expected = finished(quiet)
    assert len(expected) == 10

    chaos, watch = Chaos(store, seed=0), Watch(store)
    watch.start()
    began, starts, ends = time.monotonic(), 0, Counter[int]()
    running: dict[int, subprocess.Popen[bytes]] = {}
    while chaos.inflicted.total() < FAULTS and time.monotonic() - began < SECONDS:
        for number, command in enumerate((RUN, ABLATE)):
            if number not in running or running[number].poll() is not None:
                if number in running:
                    ends[running[number].returncode] += 1
                running[number] = start(command, data, store, log, tracked=starts % 8 == 0)
                starts += 1
        chaos.processes = list(running.values())
        time.sleep(chaos.random.expovariate(1 / EVERY))
        chaos.inflict()
    chaos.settle()
    for process in running.values():
        ends[process.wait()] += 1
    for _ in range(3):  # what was damaged last is found by the next command
        last = [start(command, data, store, log) for command in (RUN, ABLATE)]
        ends.update(process.wait() for process in last)
    watch.over.set()
    watch.join()
    found, said = finished(store), log.read_text()
    twice = {cell: len(seen) - 1 - chaos.hit[cell] for cell, seen in watch.seen.items()}
    unnamed = [cell for cell, hits in chaos.hit.items() if hits and not re.search(rf"{cell}\S* (is|leads|has|holds)", said)]
    report = {
        "faults": dict(chaos.inflicted),
        "damage": dict(sorted(chaos.damaged.items())),
        "commands": starts + 6,
        "exit codes": dict(ends),
        "finished": sum(map(len, watch.seen.values())),
        "finished cells damaged": chaos.hit.total(),
        "of these never named": unnamed,
        "seconds": round(time.monotonic() - began),
        "MB": [round(megabytes(quiet), 1), round(megabytes(store), 1)],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    with capsys.disabled():
        print("\n" + json.dumps(report))
    assert found.keys() == expected.keys(), said[-3000:]
    differ = [(cell, name) for cell in expected for name in SAME if found[cell].get(name) != expected[cell].get(name)]
    assert not differ
    assert not {cell: times for cell, times in twice.items() if times > 0}, "finished again although nothing had happened to it"
    assert not unnamed
    chaos.clear()
    assert megabytes(store) < 2 * megabytes(quiet) + 3, "what killed commands leave does not pile up"
    assert not re.findall(r'File ".*/(?:benchmark|datasets|methods|reports)/.*', said), "no fault ends in a stack trace of ours"
    assert set(ends) <= {0, 1, 2, 143, -signal.SIGTERM, -signal.SIGKILL}, ends
