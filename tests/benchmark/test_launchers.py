"""Where cells run, and what becomes of them when something breaks: through the command, with methods that break on purpose."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.ground.errors import BadInput
from benchmark.launchers.devices import Limits
from benchmark.launchers.site import Site, parse_cluster
from benchmark.launchers.work import ATTEMPTS, Work
from benchmark.records.store import CellFolder, Store
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = '''
"""Methods that break, each in its own way."""
import errno, os, signal, time
from pathlib import Path
import torch
from methods import register
from methods.supervised import Supervised

LOG = Path(os.environ["BREAKS"])

class Breaking(Supervised):
    """Supervised, until step 7 of an attempt; attempts are counted in a file."""
    def losses(self, batch, step):
        if step.index == 0:
            with open(LOG, "a") as log:
                log.write(f"{type(self).__name__} {self.task.protocol.name}\\n")
        if step.index == 7:
            self.break_down(LOG.read_text().count(type(self).__name__))
        return super().losses(batch, step)
    def break_down(self, attempt):
        """Nothing happens here."""

@register("counted")
class Counted(Breaking):
    """Breaks never."""

@register("dies")
class Dies(Breaking):
    """Kills its process every time."""
    def break_down(self, attempt):
        os.kill(os.getpid(), signal.SIGKILL)

@register("dies_once")
class FragileOnce(Breaking):
    """Kills its process the first time."""
    def break_down(self, attempt):
        if attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)

@register("hungry")
class Hungry(Breaking):
    """Runs out of memory every time."""
    def break_down(self, attempt):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

@register("hungry_once")
class GreedyOnce(Breaking):
    """Runs out of memory the first time."""
    def break_down(self, attempt):
        if attempt == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

@register("fills")
class Fills(Breaking):
    """Fills the disk."""
    def break_down(self, attempt):
        raise OSError(errno.ENOSPC, "No space left on device")

@register("sleeps")
class Sleeps(Breaking):
    """A step that takes longer than anybody waits."""
    def break_down(self, attempt):
        LOG.with_name("asleep").touch()
        time.sleep(600)
'''


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)
    plugin = folder / "breaking.py"
    plugin.write_text(PLUGIN)
    data = ["--dataset", "acdc", "--data", str(folder), "--plugin", str(plugin)]
    return [*data, "--protocol", "smoke", "--tracking", "none", "--labels", "1"]


def start(store: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    store.mkdir(parents=True, exist_ok=True)
    more = {"BREAKS": str(store / "attempts"), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-m", "benchmark", *arguments, "--store", str(store)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bench(store: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    process = start(store, *arguments, **environment)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def attempts(store: Path) -> dict[str, int]:
    names = [line.split()[0] for line in (store / "attempts").read_text().splitlines()]
    return {name: names.count(name) for name in names}


def record(store: Path, method: str) -> dict[str, Any]:
    (path,) = store.glob(f"acdc/{method}/*/record.json")
    return json.loads(path.read_text())


def test_lost_workers_and_lost_memory_cost_the_cell_alone(options: list[str], tmp_path: Path) -> None:
    """And `ls cells` tells what became of each, and `retry` tries again what failed."""
    result = bench(tmp_path, "run", "--methods", "counted,dies,dies_once,hungry,hungry_once", "--jobs", "2", *options)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert attempts(tmp_path) == {"Counted": 1, "Dies": ATTEMPTS, "FragileOnce": 2, "Hungry": 2, "GreedyOnce": 2}
    assert [record(tmp_path, m)["outcome"] for m in ("counted", "dies_once", "hungry_once")] == ["done"] * 3
    assert "out of memory" in record(tmp_path, "hungry")["error"] and "--cells-per-gpu" in record(tmp_path, "hungry")["error"]
    assert not list(tmp_path.glob("acdc/dies/*/record.json")) and "its worker died again and again" in result.stderr
    assert [path.parent.parent.name for path in tmp_path.glob("acdc/*/*/.lease")] in (["dies"], []), (
        "of a dead process, or none"
    )

    listed = bench(tmp_path, "ls", "cells")
    states = {line.split()[4]: line.split()[0] for line in listed.stdout.replace("to do", "to_do").splitlines()}
    assert states == {"counted": "done", "dies": "to_do", "dies_once": "done", "hungry": "failed", "hungry_once": "done"}
    assert "CUDA out of memory" in listed.stdout and "3 done, 1 failed, 1 to do" in listed.stderr

    again = bench(tmp_path, "retry", "--failed", "--tracking", "none", "--plugin", options[options.index("--plugin") + 1])
    assert again.returncode == 1 and attempts(tmp_path)["Hungry"] == 4 and attempts(tmp_path)["Dies"] == ATTEMPTS


def test_two_commands_on_one_store_share_the_work(options: list[str], tmp_path: Path) -> None:
    methods = ["--methods", "counted[learning_rate=0.9],counted[learning_rate=1.1],counted", "--runs", "2"]
    both = [start(tmp_path, "run", *methods, "--jobs", "1", *options) for _ in range(2)]
    results = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert attempts(tmp_path) == {"Counted": 6}, "each cell once"
    ran = {json.loads(path.read_text())["environment"]["process"] for path in tmp_path.glob("acdc/*/*/record.json")}
    assert len(ran) == 2, "both commands ran some"
    for out, err in results:
        assert (
            err.count("  done  ") + int(err.partition(" of 6 cells are done already")[0][-1:].strip() or 0) == 6
            and "2/2" in out
        )


def test_a_full_disk_stops_the_command_and_nothing_is_lost(options: list[str], tmp_path: Path) -> None:
    result = bench(tmp_path, "run", "--methods", "counted,fills", "--jobs", "1", *options)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert (
        f"no space is left on the disk (or in the quota) of {tmp_path}; free some" in line and "Traceback" not in result.stderr
    )
    assert record(tmp_path, "counted")["outcome"] == "done" and not list(tmp_path.glob("acdc/fills/*/record.json"))


def test_bit_rot_is_named_and_the_cell_run_again(options: list[str], tmp_path: Path) -> None:
    run = ["run", "--methods", "counted", *options]
    assert bench(tmp_path, *run, "--launcher", "inline").returncode == 0
    (cases,) = tmp_path.glob("acdc/counted/*/cases.csv")
    whole, model = cases.read_bytes(), (cases.parent / "model.safetensors").read_bytes()
    cases.write_bytes(whole.replace(b"0", b"1", 1))
    assert "damaged" in bench(tmp_path, "ls", "cells").stdout
    again = bench(tmp_path, *run, "--launcher", "devices")
    assert again.returncode == 0 and f"{cases} is not as it was written; the cell is run again" in again.stderr
    assert cases.read_bytes() == whole and (cases.parent / "model.safetensors").read_bytes() == model, "whatever the launcher"


SILENT = ["filelock/2", "pid=1", "host=elsewhere", "mode=lease", "token=" + "0a" * 16, "duration=3.0", "start=1", ""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lease", "environment"),
    [("\n".join(SILENT), {}), ("", {"BENCHMARK_LEASE_SECONDS": "3"})],
    ids=["another machine, by the length of its lease", "killed before it wrote its name"],
)
def test_who_went_silent_loses_the_cell(options: list[str], tmp_path: Path, lease: str, environment: dict[str, str]) -> None:
    run = ["run", "--methods", "counted", *options]
    assert bench(tmp_path, *run).returncode == 0
    (folder,) = tmp_path.glob("acdc/counted/*")
    (folder / ".done").unlink()
    (folder / ".lease").write_text(lease)
    assert bench(tmp_path, "ls", "cells").stdout.startswith("running")
    began = time.monotonic()
    result = bench(tmp_path, *run, **environment)
    assert result.returncode == 0 and attempts(tmp_path)["Counted"] == 2 and time.monotonic() - began > 3


def test_the_length_of_a_lease_is_a_number(options: list[str], tmp_path: Path) -> None:
    result = bench(tmp_path, "run", "--methods", "counted", *options, "--launcher", "inline", BENCHMARK_LEASE_SECONDS="soon")
    assert result.returncode == 2 and result.stderr.strip().splitlines()[-1].startswith(
        "error: BENCHMARK_LEASE_SECONDS is 'soon'"
    )


def wait_for(store: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not list(store.glob(pattern)):
        assert time.monotonic() < deadline, pattern
        time.sleep(0.1)


def test_a_signal_ends_the_command_after_a_checkpoint(options: list[str], tmp_path: Path) -> None:
    quick = ["quick" if option == "smoke" else option for option in options]
    process = start(tmp_path, "run", "--methods", "counted", *quick)
    wait_for(tmp_path, "acdc/*/*/.progress")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command continues from here" in err and "Traceback" not in err
    assert list(tmp_path.glob("acdc/*/*/checkpoint"))


def test_a_second_signal_waits_for_nothing(options: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, "run", "--methods", "sleeps", *options)
    wait_for(tmp_path, "asleep")
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "it waits for the step and its checkpoint"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command continues from here" in err and "Traceback" not in err
    assert not list(tmp_path.glob("acdc/*/*/checkpoint"))


class Cells:
    """Stand-ins for cells in a queue that runs nothing."""

    def __init__(self, tmp_path: Path, names: str) -> None:
        self.outcomes: list[tuple[str, str]] = []
        cells: Any = [SimpleNamespace(id=name, dataset="d", method="m", replaces=None) for name in names]
        self.work = Work(cells, tmp_path, lambda cell, progress: None, lambda cell, how: self.outcomes.append((cell.id, how)))

    def end(self, outcome: str, alone: bool = False) -> str:
        cell = self.work.take(alone)
        assert cell is not None
        self.work.ended(cell, outcome, alone)
        return cell.id


def test_the_queue_gives_lost_cells_again_and_waits_for_others_cells(tmp_path: Path) -> None:
    cells = Cells(tmp_path, "abc")
    assert [cells.end("killed") for _ in range(ATTEMPTS)] == ["a"] * ATTEMPTS and cells.outcomes == [("a", "killed")]
    assert cells.end("out of memory") == "b" and cells.work.waiting == deque(cells.work.waiting)
    assert cells.end("out of memory", alone=True) == "b" and cells.outcomes[-1] == ("b", "out of memory")
    other: Any = SimpleNamespace(id="c", dataset="d", method="m", replaces=None)
    with Store(tmp_path).folder(other).lock() as hold:
        assert hold is not None and cells.end("busy") == "c"
        cells.work.look()
        assert cells.work.open and not cells.work.waiting, "it is another's"
    cells.work._looked = 0.0
    cells.work.look()
    assert [cell.id for cell in cells.work.waiting] == ["c"], "it was let go unfinished"
    assert cells.end("busy") == "c"
    CellFolder(tmp_path / "d/m/c").finish({"cases.csv": "x"})
    cells.work._looked = 0.0
    cells.work.look()
    assert cells.outcomes[-1] == ("c", "done") and not cells.work.open


def test_a_gpu_takes_what_its_memory_holds_and_a_hungry_cell_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site("cuda:0", jobs=8)
    cells, limits = Cells(tmp_path, "abcdef"), Limits(site)
    workers: list[Any] = []

    def fill() -> int:
        for device, alone in limits.free(cells.work, workers):
            cell = cells.work.take(alone)
            if cell is None:
                break
            workers.append(SimpleNamespace(device=device, cell=cell, alone=alone))
        return len(workers)

    assert fill() == 1, "nothing is known of memory yet"
    monkeypatch.setattr(cells.work, "memory", lambda: {"cuda:0": (3000.0, 10000.0)})
    assert fill() == 3, "0.9 * 10,000 / 3,000"
    hungry = workers.pop()
    cells.work.ended(hungry.cell, "out of memory")
    assert fill() == 2 and limits.free(cells.work, workers) == [], "others are let finish first"
    while workers:
        cells.work.ended(workers.pop().cell, "done")
    assert fill() == 1 and workers[0].alone and workers[0].cell.id == hungry.cell.id
    assert limits.free(cells.work, workers) == [], "nobody beside it"
    cells.work.ended(workers.pop().cell, "done")
    assert fill() == 3
    assert Limits(Site("cuda:0", jobs=8, cells_per_gpu=2)).free(cells.work, []) == [("cuda:0", False)] * 2


def test_cluster_options_are_pairs() -> None:
    assert parse_cluster("--slurm", "partition=gpu, time=120,gres=gpu:1") == {
        "partition": "gpu",
        "time": "120",
        "gres": "gpu:1",
    }
    with pytest.raises(BadInput, match="--slurm: cannot read 'gpu'"):
        parse_cluster("--slurm", "gpu")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_a_job_that_has_one_core_of_many_runs_one_cell_at_once() -> None:
    """As SLURM binds it."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from benchmark.launchers.site import Site; print(Site().local_jobs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["1"]
