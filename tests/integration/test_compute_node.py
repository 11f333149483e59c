"""The GPU experiment as it runs on a compute node: from the packed file, without a network, MLflow, Optuna and what draws figures."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmark.records.store import Store
from benchmark.study.preparation import pack_dataset, prepare_shown
from tests.datasets.layouts import acdc_slices
from tests.integration.test_command_line import bench
from tests.reports.test_without_torch import environment_without

ROOT = Path(__file__).parents[2]
EXPERIMENT = ROOT / "experiments" / "acdc_gpu.yaml"
ABSENT = (
    "mlflow",
    "optuna",
    "seaborn",
    "matplotlib",
    "mpl_toolkits",
    "pyarrow",
    "nibabel",
    "sklearn",
    "scikit_learn",
    "jinja2",
)
METHODS = "supervised,cctr,label_propagation"
OFFLINE = '''
import os, socket, sys

def refuse(event, arguments):
    """Note every call out of this machine in the file that NETWORK_LOG names, and have it fail."""
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        if getattr(arguments[0], "family", None) != socket.AF_UNIX:
            with open(os.environ["NETWORK_LOG"], "a") as log:
                print(event, arguments, file=log)
            raise OSError("there is no network here")

sys.addaudithook(refuse)
'''


class Node:
    """An environment without a network and the packages ABSENT; ``calls``: every attempt to reach one is noted there."""

    def __init__(self, folder: Path) -> None:
        self.python = environment_without(folder / "env", (*ABSENT, "__editable__", "ssl_medseg"))
        base = {"base": str(folder / "env"), "platbase": str(folder / "env")}
        Path(sysconfig.get_path("purelib", vars=base), "sitecustomize.py").write_text(OFFLINE)
        self.calls = folder / "calls"

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"NETWORK_LOG": str(self.calls), "COLUMNS": "200", "NO_COLOR": "1"}
        command = [self.python, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases of the phantom in the layout of ACDC, packed."""
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder / "raw")
    return pack(folder / "raw", folder)


def pack(data: Path, folder: Path) -> Path:
    store = Store(folder / "store")
    prepared = prepare_shown("acdc", data, store, Console(quiet=True))
    pack_dataset(prepared, folder / "acdc.h5", 8, None, store, Console(quiet=True))
    return folder / "acdc.h5"


def test_the_guard_sees_a_call_and_the_packages_are_gone(node: Node) -> None:
    called = node.run("-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')")
    assert "there is no network here" in called.stderr and "127.0.0.1" in node.calls.read_text()
    node.calls.unlink()
    for package in ABSENT[:6]:
        assert f"No module named '{package}'" in node.run("-c", f"import {package}").stderr


def test_the_experiment_runs_from_the_packed_file_alone(node: Node, packed: Path, tmp_path: Path) -> None:
    options = ["--config", EXPERIMENT, "--data", packed, "--store", tmp_path, "--protocol", "smoke", "--jobs", 1]
    few = [*options, "--methods", METHODS, "--labels", "1", "--runs", "1"]
    result = node.run("-m", "benchmark", "run", *few)
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    assert not node.calls.exists(), node.calls.read_text()
    assert result.stderr.count("mlflow is not installed") == 1 and result.stderr.count("no figure is drawn") == 1
    assert all(name in result.stdout for name in METHODS.split(","))
    table = pd.read_csv(tmp_path / "report" / "leaderboard.csv")
    assert set(table["variant"]) == set(METHODS.split(",")) and set(table["protocol"]) == {"smoke"}
    assert not list(tmp_path.glob("report/figures/*")) and not (tmp_path / "mlflow.db").exists()

    home = bench("track", "--store", tmp_path)  # the records came home
    assert home.returncode == 0 and (tmp_path / "mlflow.db").stat().st_size > 0, home.stderr
    drawn = bench("report", "--store", tmp_path)
    assert drawn.returncode == 0 and list(tmp_path.glob("report/figures/*-label-efficiency.png")), drawn.stderr


def test_tracking_that_is_asked_for_and_tuning_say_what_is_missing(node: Node, packed: Path, tmp_path: Path) -> None:
    data = ["--dataset", "acdc", "--data", packed, "--store", tmp_path, "--protocol", "smoke", "--labels", "1", "--jobs", 1]
    for command, missing in ((["run", "--tracking", f"sqlite:///{tmp_path}/db"], "mlflow"), (["tune"], "optuna")):
        refused = node.run("-m", "benchmark", *command, *data, "--methods", "supervised")
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
        assert f"{missing} is not installed" in refused.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_experiment_runs_on_real_cases(node: Node, acdc_folder: Path, tmp_path: Path) -> None:
    options = [
        "--config",
        EXPERIMENT,
        "--data",
        pack(acdc_folder, tmp_path),
        "--store",
        tmp_path / "runs",
        "--protocol",
        "smoke",
    ]
    result = node.run("-m", "benchmark", "run", *options, "--methods", "supervised", "--labels", "1", "--runs", "1")
    assert result.returncode == 0 and "Traceback" not in result.stderr, result.stderr
    assert not node.calls.exists(), node.calls.read_text()
    assert "acdc: test (10 cases), protocol smoke" in result.stdout
