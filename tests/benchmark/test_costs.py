"""What a cell will take, said before it has run: time from what methods cost, memory as a limit of how many run at once."""

import io
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from benchmark.cell import costs
from benchmark.ground import environment, registry
from benchmark.ground.rules import get_protocol
from benchmark.launchers.site import Site
from benchmark.records.identity import Cell
from benchmark.study import session as sessions
from benchmark.study.grid import expand, parse_methods
from benchmark.study.session import Session
from datasets.dataset import Dataset
from datasets.preparing import open_dataset, prepare
from methods.method import Method
from tests.datasets.layouts import acdc_slices


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    acdc_slices(folder)
    return open_dataset("acdc", folder)


def cells(dataset: Dataset, methods: str, protocol: str = "smoke") -> list[Cell]:
    return expand(dataset, parse_methods(methods), [1], [(0, 0)], get_protocol(protocol), "")


def test_the_table_knows_every_method_that_trains() -> None:
    trained = {name for name in registry.entries("methods") if issubclass(registry.load("methods", name), Method)}
    assert costs.table().keys() == trained
    assert all(0.3 < entry["seconds"] < 10 and 0.2 < entry["memory"] < 15 for entry in costs.table().values())


def test_operations_and_bytes_are_those_of_the_network() -> None:
    """Of the first layer, by hand; and twice the side is four times the work."""
    rules = get_protocol("quick").model_copy(update={"unet_widths": (4,), "unet_dropout": (0.0,)})
    pixels = 16 * 64 * 64
    assert costs.work(rules, 3, 2).operations == 2 * pixels * 9 * (3 * 4 + 4 * 4 + 4 * 2)
    larger = costs.work(rules.model_copy(update={"image_size": 128}), 3, 2)
    assert larger.operations == 4 * costs.work(rules, 3, 2).operations and larger.kept == 4 * costs.work(rules, 3, 2).kept
    assert costs.work(rules, 3, 2).kept > pixels * 4 * (3 + 4)  # the image, and at least one map of the four channels


def test_time_follows_steps_method_and_rules(dataset: Dataset) -> None:
    def seconds(method: str, protocol: str) -> float:
        (cell,) = cells(dataset, method, protocol)
        return costs.training_seconds(cell, "cpu")

    quick = seconds("supervised", "quick")
    assert seconds("supervised", "quick[steps=800]") == pytest.approx(2 * quick)
    assert seconds("cctr", "quick") == pytest.approx(
        quick * costs.table()["cctr"]["seconds"] / costs.table()["supervised"]["seconds"]
    )
    assert seconds("supervised", "paper") > 50 * quick
    assert seconds("label_propagation", "quick") == 0


def test_what_is_measured_has_one_thread_as_a_cell_has(dataset: Dataset) -> None:
    costs.unit_seconds.cache_clear()
    torch.set_num_threads(2)
    (cell,) = cells(dataset, "supervised")
    assert costs.training_seconds(cell, "cpu") > 0 and torch.get_num_threads() == 1


def test_a_method_that_the_table_does_not_know_is_timed_on_made_up_slices(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "table", lambda: {"cctr": {"seconds": 4.0, "memory": 5.0}})
    (cell,) = cells(dataset, "cps")
    assert 0 < costs.training_seconds(cell, "cpu") < 60
    with pytest.raises(
        ValidationError, match="levels"
    ):  # asked for with its list, which has no hash, and refused by the method alone
        costs.training_seconds(cell.model_copy(update={"hparams": cell.hparams | {"levels": [1, 2]}}), "cpu")
    assert costs.memory_bytes(cell, 1, 4) == costs.memory_bytes(*cells(dataset, "cctr"), 1, 4)


def test_free_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What files that were read take of it is given up where it is needed."""
    monkeypatch.setattr(environment, "CGROUP", tmp_path)
    machine = environment.free_memory()
    assert machine > 1e6
    for name, text in {"max": "1000000", "current": "900000", "stat": "anon 1\ninactive_file 200000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert environment.free_memory() == 300_000
    (tmp_path / "memory.max").write_text("max\n")
    assert environment.free_memory() > 1e6


def test_no_more_cells_run_at_once_than_memory_holds(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    planned = cells(dataset, "supervised,cctr,cps", "paper")
    prepared = prepare("acdc", dataset.path, tmp_path / "cache")
    needed = max(costs.memory_bytes(cell, 1, 4, slices=100) for cell in planned)
    monkeypatch.setattr(sessions, "free_memory", lambda: 2.5 * needed)
    monkeypatch.setattr(Site, "local_jobs", 16)

    def jobs(site: Site) -> int | None:
        return Session(planned, tmp_path / "store", site, "none", console)._within_memory(prepared).jobs

    assert jobs(Site()) == 2 and "2 cells at once, for each may take" in console.export_text()
    assert jobs(Site(jobs=7)) == 7, "who says how many is taken at his word"
    plan = Session(planned, tmp_path / "store", Site(), "none", console).plan()
    assert str(plan.caption).startswith("time left with 2 at once"), "a plan counts on no more"
    monkeypatch.setattr(sessions, "free_memory", lambda: 100 * needed)
    assert jobs(Site()) is None
    monkeypatch.setattr(sessions, "free_memory", lambda: 1.0)
    assert jobs(Site()) == 1
