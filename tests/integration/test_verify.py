"""`verify` proves an honest store and names what somebody changed, whatever they did to the checksums."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmark import commands as cli
from benchmark.cell.experiment import run_cell
from benchmark.ground.files import checksum
from benchmark.ground.rules import get_protocol
from benchmark.records.identity import Cell
from benchmark.records.store import CellFolder, Store
from benchmark.study.grid import expand, parse_methods
from datasets.packing import write
from datasets.preparing import open_dataset
from tests.datasets.layouts import acdc_slices

METHODS = ("supervised", "label_propagation")
Verify = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two finished cells, and the data beside it; the networks are trained enough to find something."""
    root = tmp_path_factory.mktemp("made")
    acdc_slices(root / "data")
    protocol = get_protocol("smoke").model_copy(update={"steps": 60, "validations": 3})
    for cell in expand(
        open_dataset("acdc", root / "data"), parse_methods("supervised,label_propagation"), [1], [(0, 0)], protocol, ""
    ):
        assert run_cell(cell, Store(root / "store"), "cpu") == "done"
    return root


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "store", tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Verify:
    def run(store: Path, *options: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["benchmark", "verify", "--store", str(store), "--device", "cpu", *map(str, options)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(ended.value.code or 0), told.out + told.err

    return run


def alone(store: Path, method: str) -> CellFolder:
    """The cell of ``method``; the others are taken away."""
    for other in set(METHODS) - {method}:
        shutil.rmtree(store / "acdc" / other)
    (path,) = (store / "acdc" / method).iterdir()
    return CellFolder(path)


def forge(folder: CellFolder, name: str, content: bytes) -> None:
    """Another content for a file, with the checksum that it would have."""
    (folder.path / name).write_bytes(content)
    sums = json.loads((folder.path / ".done").read_text())
    (folder.path / ".done").write_text(json.dumps(sums | {name: checksum(content)}))


def forge_json(folder: CellFolder, name: str, **changes: Any) -> None:
    forge(folder, name, json.dumps(json.loads((folder.path / name).read_text()) | changes).encode())


def test_an_honest_store_holds(store: Path, verify: Verify) -> None:
    code, said = verify(store)
    assert code == 0 and "2 of 2 cells hold" in said and "84 numbers within 1e-06" in said, said
    assert "verifying: 2 cells in" in said
    (supervised,) = (line for line in said.splitlines() if "supervised" in line)
    assert "168 numbers" in supervised and "not checked" not in supervised, said
    folder = alone(store, "supervised")
    record = json.loads((folder.path / "record.json").read_text())
    assert (folder.path / "best.safetensors").exists() == (record["best_step"] < record["steps_done"])


def test_scores_of_the_best_weights_are_checked_too(store: Path, verify: Verify) -> None:
    folder = alone(store, "supervised")
    record = json.loads((folder.path / "record.json").read_text())
    if not (folder.path / "best.safetensors").exists():  # the last ones are the best: as if another look had been
        forge(folder, "best.safetensors", (folder.path / "model.safetensors").read_bytes())
        forge_json(folder, "record.json", best_step=record["steps_done"] // 2)
    assert verify(store)[0] == 0
    table = (folder.path / "cases.csv").read_text().splitlines()
    row = next(i for i, line in enumerate(table) if ",val,hd95," in line)
    table[row] = table[row].rpartition(",")[0] + ",1.5"
    forge(folder, "cases.csv", "\n".join([*table, ""]).encode())
    code, said = verify(store)
    assert code == 1 and "hd95 of" in said and ", val) is 1.5 in cases.csv" in said, said
    (folder.path / "best.safetensors").unlink()
    sums = json.loads((folder.path / ".done").read_text())
    (folder.path / ".done").write_text(json.dumps({name: value for name, value in sums.items() if name != "best.safetensors"}))
    code, said = verify(store)
    assert code == 0 and "84 of the best weights on validation, which an earlier version did not keep" in said, said


def test_a_sample_is_the_same_each_time_and_said(store: Path, verify: Verify) -> None:
    code, said = verify(store, "--sample", 1)
    assert code == 0 and "1 of 1 cells hold" in said
    named = said.split("drawn of the finished cells: ")[1].split()[0]
    assert named in said.split("holds")[1] and named in verify(store, "--sample", 1)[1]


@pytest.mark.parametrize("method", METHODS)
def test_a_number_that_was_edited_is_named_though_the_checksums_fit(method: str, store: Path, verify: Verify) -> None:
    folder = alone(store, method)
    table = pd.read_csv(folder.path / "cases.csv")
    at = table.index[(table["metric"] == "dsc") & (table["selection"] == "last")][3]
    was = table.loc[at, "value"]
    table.loc[at, "value"] = was + 0.001
    forge(folder, "cases.csv", table.to_csv(index=False).encode())
    assert folder.done()
    code, said = verify(store)
    row = table.loc[at]
    assert code == 1 and "0 of 1 cells hold" in said and folder.path.name in said, said
    wanted = f"dsc of {row['class']} in {row['volume']} ({row['case']}, test, {row['network']}, last) is {was + 0.001:.9g}"
    assert f"{wanted} in cases.csv; predicted again it is {was:.9g}" in said, said


def test_rows_that_were_left_out_added_or_doubled_are_named(store: Path, verify: Verify) -> None:
    folder = alone(store, "label_propagation")
    table = pd.read_csv(folder.path / "cases.csv")
    stranger = table.iloc[[0]].assign(case="patient999")
    forge(folder, "cases.csv", pd.concat([table.iloc[1:], table.iloc[[2]], stranger]).to_csv(index=False).encode())
    code, said = verify(store)
    assert code == 1 and "has a row of" in said and "patient999" in said and "lacks a row of" in said and "a row twice" in said


def test_what_the_record_says_must_follow_from_the_cell(store: Path, verify: Verify) -> None:
    folder = alone(store, "label_propagation")
    for key, value in {"data_hash": "0", "draw_hash": "1", "protocol_hash": "2", "labels": 3}.items():
        forge_json(folder, "record.json", **{key: value})
    code, said = verify(store)
    for key, value in {"data_hash": "'0'", "draw_hash": "'1'", "protocol_hash": "'2'", "labels": "3"}.items():
        assert f"record.json has {key} {value}; from cell.json follows" in said, said
    assert code == 1


def test_a_cell_under_another_s_name_is_found(store: Path, verify: Verify) -> None:
    folder = alone(store, "label_propagation")
    forge_json(folder, "cell.json", seed=7)
    code, said = verify(store)
    assert code == 1 and "cell.json is that of acdc/label_propagation/" in said


def test_other_labelled_cases_than_the_draw_s_are_found(store: Path, verify: Verify) -> None:
    """The forger renames the folder and makes the record fit, too."""
    folder = alone(store, "label_propagation")
    forge_json(folder, "cell.json", labelled=["patient050"])
    cell = Cell(**json.loads((folder.path / "cell.json").read_text()))
    from benchmark.records.schema import describe_cell

    forge_json(folder, "record.json", **(json.loads(json.dumps(describe_cell(cell), default=str))))
    folder.path.rename(folder.path.with_name(cell.id))
    code, said = verify(store)
    assert code == 1 and "cell.json labels patient050; draw 0 labels patient099" in said, said


def test_other_weights_are_found(store: Path, verify: Verify) -> None:
    folder = alone(store, "supervised")
    weights = load_file(folder.path / "model.safetensors")
    bias = "network.classify.bias"
    save_file(weights | {bias: weights[bias] + torch.tensor([0.0, 0.0, 50.0, 0.0])}, store / "other")  # one class everywhere
    (folder.path / "model.safetensors").write_bytes((store / "other").read_bytes())
    code, said = verify(store)
    assert code == 1 and "model.safetensors is not as it was written" in said
    forge(folder, "model.safetensors", (store / "other").read_bytes())
    code, said = verify(store)
    assert code == 1 and "dsc of myocardium in" in said and "predicted again it is" in said and "rows more" in said, said
    save_file({name: value for name, value in weights.items() if name != bias}, store / "other")
    forge(folder, "model.safetensors", (store / "other").read_bytes())
    code, said = verify(store)
    assert code == 1 and "its weights cannot be used" in said and bias in said


def test_records_without_weights_are_told_apart(store: Path, verify: Verify) -> None:
    folder = alone(store, "supervised")
    (folder.path / "model.safetensors").unlink()
    code, said = verify(store)
    assert code == 0 and "hashes alone; no weights are here" in said and "1 of 1 cells hold" in said
    (folder.path / "history.csv").unlink()
    code, said = verify(store)
    assert code == 1 and "history.csv is not as it was written" in said


def test_data_that_is_not_the_cells_is_found(made: Path, store: Path, tmp_path: Path, verify: Verify) -> None:
    alone(store, "label_propagation")
    shutil.rmtree(store / "cache" / "datasets")
    code, said = verify(store)
    assert code == 2 and "--data" in said
    write(open_dataset("acdc", made / "data"), tmp_path / "data.h5", None, lambda done, total: None)
    assert verify(store, "--data", tmp_path / "data.h5")[0] == 0
    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["label 0"][...] = np.ones_like(file["label 0"][()])
    code, said = verify(store, "--data", tmp_path / "data.h5")
    assert code == 1 and "data.h5 is not what it says it is: the label of patient099_frame01" in said, said


def test_no_store_and_nothing_finished_are_bad_input(tmp_path: Path, verify: Verify) -> None:
    assert verify(tmp_path / "nowhere")[0] == 2
    (tmp_path / "empty").mkdir()
    code, said = verify(tmp_path / "empty")
    assert code == 2 and "holds no finished cell" in said
