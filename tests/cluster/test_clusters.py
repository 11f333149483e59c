"""Real schedulers on this machine: SLURM's daemons, and a Ray cluster of two nodes. Skipped where they are not installed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0

needs_slurm = pytest.mark.skipif(bool(slurm.missing()), reason=f"SLURM's {', '.join(slurm.missing())} not here")
needs = {
    name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("ray", "submitit")
}
pytestmark = pytest.mark.xdist_group("clusters")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)
    return folder


def start(data: Path, store: Path, environment: dict[str, str], *more: str) -> subprocess.Popen[str]:
    grid = ["--methods", "supervised,entropy_min", "--labels", "1", "--protocol", "quick", "--device", "cpu"]
    where = ["--dataset", "acdc", "--data", str(data), "--store", str(store), "--tracking", "none"]
    command = [sys.executable, "-m", "benchmark", "run", *grid, *where, *more]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def notes(store: Path) -> list[dict[str, float]]:
    found = []
    for path in store.glob("acdc/*/*/.progress"):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture(scope="module")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


@needs_slurm
@needs["submitit"]
@pytest.mark.timeout(2 * PATIENCE + 60)
def test_slurm_jobs_survive_a_time_limit_and_a_requeue(data: Path, slurm_cluster: dict[str, str], tmp_path: Path) -> None:
    """The signal before a time limit has one job write its checkpoint and queue itself; the scheduler requeues the other."""

    def run(*command: str) -> str:
        return subprocess.run(command, env=slurm_cluster, capture_output=True, text=True, check=True).stdout

    process = start(data, tmp_path, slurm_cluster, "--launcher", "slurm", "--slurm", "partition=test,time=10")
    until(lambda: len(notes(tmp_path)) == 2 and all(note["step"] > 20 for note in notes(tmp_path)))
    first, second = sorted(run("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split())
    run("scancel", "--signal=USR2", first)
    run("scontrol", "requeue", second)
    waiting = ["squeue", "--noheader", "--array", "--states=PENDING", "--format=%i"]
    until(lambda: len(run(*waiting).split()) == 2)
    assert list(tmp_path.glob("acdc/*/*/checkpoint")) and not list(tmp_path.glob("acdc/*/*/.done"))
    for job in (first, second):
        run("scontrol", "update", f"jobid={job}", "StartTime=now")  # SLURM would wait for two minutes
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert err.count("  done  ") == 2 and "entropy_min" in out
    assert not run("squeue", "--noheader").strip(), "nothing is left behind"


@needs["ray"]
@pytest.mark.timeout(2 * PATIENCE + 60)
def test_a_ray_cluster_loses_a_node_and_no_cell(data: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        process = start(data, tmp_path, environment, "--launcher", "ray", "--ray", cluster.address)
        until(lambda: len(notes(tmp_path)) == 2)
        before = {note["process"] for note in notes(tmp_path)}
        cluster.remove_node(node, allow_graceful=False)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        cluster.shutdown()
    assert process.returncode == 0 and err.count("  done  ") == 2 and "entropy_min" in out, err[-3000:]
    ran = {json.loads(path.read_text())["environment"]["process"] for path in tmp_path.glob("acdc/*/*/record.json")}
    assert len(ran & before) <= 1, "the lost node's cell was run by another process"
