"""A store that can only be read: a colleague's, a mounted archive, a frozen quota."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmark import commands as cli
from benchmark.cell.experiment import run_cell
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.study.grid import expand, parse_methods
from datasets.preparing import open_dataset
from tests.conftest import Disk
from tests.datasets.layouts import acdc_slices


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two finished cells and one that is still to do, and the data beside it."""
    root = tmp_path_factory.mktemp("made")
    acdc_slices(root / "data")
    methods = parse_methods("supervised,label_propagation,cps")
    cells = expand(open_dataset("acdc", root / "data"), methods, [1], [(0, 0)], get_protocol("smoke"), "")
    store = Store(root / "store")
    for cell in cells[:2]:
        assert run_cell(cell, store, "cpu") == "done"
    store.folder(cells[2]).plan(cells[2])
    return root


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


def test_what_reads_a_store_does_not_write_into_it(
    made: Path, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = disk.path / "store", tmp_path / "out"
    shutil.copytree(made / "store", store)
    shutil.rmtree(store / "cache" / "registration")  # some are computed again, and have no place in the store
    disk.mount("remount,ro")
    listed = bench(monkeypatch, capsys, "ls", "cells", "--store", store)
    assert listed[0] == 0 and "2 done, 1 to do" in listed[1], listed
    for command in (["report", "--out", out / "report"], ["export", "--out", out / "export"], ["verify", "--device", "cpu"]):
        code, told = bench(monkeypatch, capsys, *command, "--store", store)
        assert code == 0, told
    assert (out / "report" / "index.html").is_file() and (out / "export" / "acdc").is_dir()


def test_tracking_goes_elsewhere_or_says_at_once_that_it_cannot(
    made: Path, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow")
    store = disk.path / "store"
    shutil.copytree(made / "store", store)
    disk.mount("remount,ro")
    code, told = bench(monkeypatch, capsys, "track", "--store", store)
    assert code == 2 and f"--tracking: {store} cannot be written" in told
    code, told = bench(
        monkeypatch, capsys, "track", "--store", store, "--tracking", f"sqlite:///{tmp_path}/elsewhere/mlflow.db"
    )
    assert code == 0, told
    assert list((tmp_path / "elsewhere" / "mlflow" / "artifacts").rglob("cases.csv"))


@pytest.mark.parametrize("command", [["report"], ["run"], ["prepare"], ["retry"], ["tune"]], ids=" ".join)
def test_what_must_write_says_so_in_one_sentence(
    made: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    store = disk.path / "store"
    shutil.copytree(made / "store", store)
    disk.mount("remount,ro")
    options: list[object] = [] if command == ["report"] else ["--data", made / "data"]
    if command[0] in ("run", "prepare", "tune"):
        options += ["--dataset", "acdc"]
    if command != ["prepare"] and command != ["report"]:
        options += ["--tracking", "none"]
    if command[0] in ("run", "tune"):
        options += ["--methods", "cps", "--labels", 1, "--protocol", "smoke"]
    code, told = bench(monkeypatch, capsys, *command, "--store", store, *options)
    assert code == 2 and told.count("error: ") == 1 and str(disk.path) in told and "can only be read" in told, told
