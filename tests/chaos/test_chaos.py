"""A grid under fire: whatever is killed, paused, damaged or filled up, in the end every cell is done and equals that of a quiet run.

No part of the usual run: ``make chaos`` inflicts CHAOS_FAULTS (200) faults, one every few seconds, in at most CHAOS_SECONDS (1800).
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.records.store import CellFolder
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).resolve().parents[2]
FAULTS = int(os.environ.get("CHAOS_FAULTS", "200"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "1800"))
EVERY = 2.0
LEASE = 4.0
METHODS = "supervised,entropy_min,label_propagation,mean_teacher[rsl=true]"
SAME = ("model.safetensors", "cases.csv", "history.csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB of its own, where this process may make one; else a folder, whose disk is never full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True).returncode == 0
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def command(data: Path, store: Path) -> list[str]:
    grid = ["--methods", METHODS, "--labels", "1,2", "--draws", "0", "--seeds", "0", "--protocol", "quick", "--jobs", "2"]
    where = ["--dataset", "acdc", "--data", str(data), "--store", str(store), "--tracking", "none"]
    return [sys.executable, "-m", "benchmark", "run", *grid, *where]


def start(data: Path, store: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"BENCHMARK_LEASE_SECONDS": str(LEASE), "OMP_NUM_THREADS": "1"}
    with open(log, "ab") as out:
        return subprocess.Popen(command(data, store), cwd=ROOT, env=environment, stdout=out, stderr=out)


def workers(parent: int) -> list[int]:
    """Process ids of the workers of a process, which has a child that only keeps count of shared resources, too."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


class Chaos:
    """Faults by name; each says whether it found something to hit."""

    def __init__(self, store: Path, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.process: subprocess.Popen[bytes] | None = None
        self.inflicted: Counter[str] = Counter()
        self.timers: list[threading.Timer] = []

    def inflict(self) -> None:
        faults: list[Callable[[], bool]] = [
            *[
                self.kill_a_worker,
                self.kill_the_parent,
                self.stop_the_parent,
                self.leave_a_stale_lease,
                self.truncate,
                self.flip_a_bit,
            ],
            *[self.fill_the_disk, self.pause_a_worker],
        ]
        fault = self.random.choices(faults, weights=[4, 1.5, 1, 2, 3, 3, 1.5, 1.5])[0]
        if fault():
            self.inflicted[fault.__name__] += 1

    def _signal(self, pid: int, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def _worker(self) -> int | None:
        found = workers(self.process.pid) if self.process else []
        return self.random.choice(found) if found else None

    def kill_a_worker(self) -> bool:
        worker = self._worker()
        return worker is not None and self._signal(worker, signal.SIGKILL)

    def kill_the_parent(self) -> bool:
        return self.process is not None and self._signal(self.process.pid, signal.SIGKILL)

    def stop_the_parent(self) -> bool:
        return self.process is not None and self._signal(self.process.pid, signal.SIGTERM)

    def pause_a_worker(self) -> bool:
        """Longer than its lease: others may take its cell over, and it wakes up beside them."""
        worker = self._worker()
        if worker is None or not self._signal(worker, signal.SIGSTOP):
            return False
        self._later(LEASE + 2, lambda: self._signal(worker, signal.SIGCONT))
        return True

    def leave_a_stale_lease(self) -> bool:
        """As a machine leaves it that lost its power in the middle of a cell."""
        idle = [path.parent for path in self.store.glob("acdc/*/*/cell.json") if not (path.parent / ".lease").exists()]
        if not idle:
            return False
        lines = [
            "filelock/2",
            "pid=1",
            "host=elsewhere",
            "mode=lease",
            f"token={self.random.randbytes(16).hex()}",
            f"duration={LEASE}",
        ]
        with contextlib.suppress(OSError):  # the disk may be full
            (self.random.choice(idle) / ".lease").write_text("\n".join([*lines, "start=1", ""]))
            return True
        return False

    def _file(self) -> Path | None:
        files = [
            *self.store.glob("acdc/*/*/*"),
            *self.store.glob("acdc/*/*/.*"),
            *self.store.glob("cache/registration/*/*.sealed"),
        ]
        return self.random.choice(sorted(files)) if files else None

    def truncate(self) -> bool:
        file = self._file()
        with contextlib.suppress(OSError):
            if file:
                os.truncate(file, self.random.randrange(file.stat().st_size + 1))
                return True
        return False

    def flip_a_bit(self) -> bool:
        file = self._file()
        with contextlib.suppress(OSError):
            content = bytearray(file.read_bytes()) if file else bytearray()
            if file and content:
                content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
                with open(file, "r+b") as there:
                    there.write(content)
                return True
        return False

    def fill_the_disk(self) -> bool:
        if not os.path.ismount(self.store.parent):
            return False
        ballast = self.store.parent / "ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        self._later(3.0, lambda: ballast.unlink(missing_ok=True))
        return True

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.timers.append(threading.Timer(seconds, action))
        self.timers[-1].start()

    def settle(self) -> None:
        """Wait for what was to be undone."""
        for timer in self.timers:
            timer.join()


def finished(store: Path) -> dict[str, dict[str, bytes]]:
    """Of every cell that is done, the files that must not depend on what happened."""
    folders = [CellFolder(path.parent) for path in store.glob("acdc/*/*/.done")]
    return {f.path.name: {name: (f.path / name).read_bytes() for name in SAME} for f in folders if f.done()}


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


@pytest.mark.chaos
@pytest.mark.timeout(SECONDS + 1200)
def test_faults_cost_time_and_nothing_else(
    data: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, store, log = tmp_path / "quiet", small_disk / "store", tmp_path / "log"
    assert start(data, quiet, tmp_path / "quiet.log").wait() == 0
    expected = finished(quiet)
    assert len(expected) == 8

    chaos = Chaos(store, seed=0)
    began, starts, ends = time.monotonic(), 0, Counter[int]()
    while chaos.inflicted.total() < FAULTS and time.monotonic() - began < SECONDS:
        if chaos.process is None or chaos.process.poll() is not None:
            if chaos.process is not None:
                ends[chaos.process.returncode] += 1
            chaos.process, starts = start(data, store, log), starts + 1
        time.sleep(chaos.random.expovariate(1 / EVERY))
        chaos.inflict()
    chaos.settle()
    assert chaos.process is not None
    ends[chaos.process.wait()] += 1
    for _ in range(5):  # what was damaged last is found by the next command
        ends[start(data, store, log).wait()] += 1
    found, said = finished(store), log.read_text()
    report = {
        "faults": dict(chaos.inflicted),
        "commands": starts + 5,
        "exit codes": dict(ends),
        "damaged cells found": said.count("is not as it was written"),
        "seconds": round(time.monotonic() - began),
        "MB": [round(megabytes(quiet), 1), round(megabytes(store), 1)],
    }
    with capsys.disabled():
        print("\n" + json.dumps(report))
    assert found.keys() == expected.keys(), said[-3000:]
    differ = [(cell, name) for cell in expected for name in SAME if found[cell][name] != expected[cell][name]]
    assert not differ
    assert megabytes(store) < 2 * megabytes(quiet), "what killed commands leave does not pile up"
    assert not re.findall(r'File ".*/(?:benchmark|datasets|methods|reports)/.*', said), "no fault ends in a stack trace of ours"
    assert set(ends) <= {0, 1, 2, 143, -signal.SIGTERM, -signal.SIGKILL}, ends
