"""Voxels that are no class go through methods of every kind, and into no score."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.cell.experiment import run_cell
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.records.table import collect
from benchmark.study.grid import expand, parse_methods
from datasets.preparing import open_dataset
from tests.datasets.odd_files import nnunet


@pytest.mark.parametrize("method", ["supervised", "bcp", "ss_net", "cctr", "label_propagation"])
def test_a_method_trains_where_some_voxels_are_no_class(method: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    nnunet(tmp_path / "data", labels={"background": 0, "a": 1, "ignore": 2})
    source = open_dataset("nnunet", tmp_path / "data")
    (cell,) = expand(source, parse_methods(method), [1], [(0, 0)], get_protocol("smoke"), "")
    cell = cell.model_copy(update={"data": tmp_path / "data"})
    store = Store(tmp_path / "store")
    assert run_cell(cell, store, "cpu") == "done", store.folder(cell).record()
    scores = collect(store).cases
    assert set(scores["class"]) == {"a"} and np.isfinite(scores.loc[scores["metric"] == "dsc", "value"]).all()
