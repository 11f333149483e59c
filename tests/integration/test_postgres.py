"""PostgreSQL as Optuna's storage and as MLflow's database, with two commands at work on one study."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.records.store import Store
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).parents[2]
optuna = pytest.importorskip("optuna")
mlflow = pytest.importorskip("mlflow")
pytest.importorskip("psycopg2", reason="psycopg2 is not installed (extra dev)")


def program(name: str) -> str:
    """A program of PostgreSQL, on the path or where Debian has it."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[::-1]), None)
    if found is None:
        pytest.skip(f"{name} of PostgreSQL is not installed")
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URI of a database that lives as long as the tests; its server refuses to be root's."""
    programs = {name: program(name) for name in ("initdb", "pg_ctl", "createdb")}
    user = {}
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()} & {"postgres", "nobody"}
        if not names:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
        user = {"user": max(names), "group": pwd.getpwnam(max(names)).pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        shutil.chown(folder, user["user"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(name: str, *arguments: str) -> None:
        subprocess.run([programs[name], *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **user)

    try:
        call("initdb", "-D", str(folder / "data"), "-U", "bench", "--auth", "trust", "-N")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", "-D", str(folder / "data"), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            for name in ("trials", "runs"):
                call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "bench", name)
            yield f"postgresql+psycopg2://bench@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_two_commands_work_on_one_study_and_one_experiment(database: str, tmp_path: Path) -> None:
    acdc_slices(tmp_path / "acdc")
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    elsewhere.mkdir()
    grid = ["--dataset", "acdc", "--data", tmp_path / "acdc", "--protocol", "smoke", "--store", store, "--launcher", "inline"]
    tuning = ["tune", *grid, "--methods", "supervised", "--labels", "1", "--trials", "6", "--storage", f"{database}/trials"]
    command = [sys.executable, "-m", "benchmark", *map(str, tuning), "--tracking", f"{database}/runs"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(command, cwd=elsewhere, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=280) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len([folder for folder in Store(store).folders() if folder.done()]) == 6

    (name,) = optuna.get_all_study_names(storage=f"{database}/trials")
    trials = optuna.load_study(study_name=name, storage=f"{database}/trials").get_trials()
    assert Counter((t.user_attrs["trial"], t.state.name) for t in trials) == {(n, "COMPLETE"): 1 for n in range(6)}

    client = mlflow.MlflowClient(f"{database}/runs")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    runs = client.search_runs([experiment.experiment_id])
    assert Counter(run.data.tags["kind"] for run in runs) == {"trial": 6, "command": 1}
    assert len({run.data.tags.get("cell") for run in runs}) == 7 and {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags["kind"] == "command"]
    assert "supervised 1 labelled/best" in parent.data.metrics and "supervised 1 labelled/learning_rate" in parent.data.params
    assert experiment.artifact_location == (store / "mlflow" / "artifacts").as_uri() and not list(elsewhere.iterdir())
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"studies.csv", "trials.csv"}
