"""What docs/results quotes is what its records say."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cell.costs import work
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.records.table import collect
from benchmark.study.grid import parse_methods
from reports.tables.leaderboard import leaderboard

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str) -> Any:
    """A script of ``tools``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_that_pages_quote_of_the_results_is_stale() -> None:
    results = tool("results")
    for page in results.PAGES:
        text = page.read_text(encoding="utf-8")
        assert results.PLACE.search(text) and results.rewritten(text) == text, "make results"
        for picture, content in results.figures(text).items():
            assert picture.read_bytes() == content, "make results"


def test_scores_told_run_by_run_are_means_of_the_cases_in_the_records() -> None:
    results = tool("results")
    records = collect(Store(ROOT / "docs" / "results" / "acdc_desk"))
    cells = records.cells[(records.cells["variant"] == "supervised") & records.cells["labels"].isin(results.BUDGETS)]
    scores = records.cases[(records.cases["metric"] == "dsc") & (records.cases["selection"] == "last")]
    means = 100 * scores.groupby("cell", observed=True)["value"].mean()  # as many volumes and classes a case
    told = [
        ", ".join(f"{means[cell]:.1f}" for cell in cells[cells["labels"] == labels].sort_values("draw")["cell"])
        for labels in results.BUDGETS
    ]
    assert f"| `supervised` | {' | '.join(told)} |\n" in results.PARTS["runs"]("acdc_desk")


@pytest.mark.parametrize("store", tool("results").STORES)
def test_report_beside_the_results_is_what_their_records_give(store: str, tmp_path: Path) -> None:
    results, kept = tool("results"), ROOT / "docs" / "results" / store / "report"
    results.write_report_of(store, tmp_path)
    assert (tmp_path / "index.html").read_bytes() == (kept / "index.html").read_bytes(), "make results"
    names = [sorted(file.relative_to(folder) for file in folder.rglob("*.*")) for folder in (tmp_path, kept)]
    assert names[0] == names[1], "make results"


def test_records_of_the_results_are_whole_and_say_nothing_of_a_machine() -> None:
    for name, done in {"acdc_desk": 153, "acdc_wide": 5, "hippocampus_desk": 6}.items():
        records = collect(Store(ROOT / "docs" / "results" / name))
        assert not records.notes and (records.cells["outcome"] == "done").sum() >= done, name
    for file in (ROOT / "docs" / "results").rglob("record.json"):
        assert " /" not in (text := file.read_text(encoding="utf-8")) and '"host"' not in text, file


def test_what_desk_can_reach_is_what_the_record_says() -> None:
    told = yaml.safe_load((ROOT / "benchmark" / "ground" / "measured.yaml").read_text(encoding="utf-8"))
    (desk,) = [entry for entry in told["desk"] if entry["dataset"] == "acdc"]
    table = leaderboard(collect(Store(ROOT / "docs" / "results" / "acdc_desk")))
    (row,) = table[(table["variant"] == "supervised") & (table["labels"] == desk["cases"])].to_dict("records")
    assert desk["dsc"] == pytest.approx(100 * row["dsc"], abs=0.051)


def test_predictions_for_a_gpu_count_what_a_step_does() -> None:
    """A U-Net's pass back costs two passes forward, but for the first layer, which has no input to correct."""
    predictions, rules = tool("gpu_predictions"), get_protocol("smoke")
    found = predictions.predicted(parse_methods("supervised")[0], rules)
    forward = work(rules, 1, 4).operations / 2  # of the labelled half of a batch
    assert 2.5 < found.operations / forward <= 3
    assert found.seconds == found.calls * predictions.HOST_SECONDS  # far too small for a card
    assert found.bytes > 4 * 8 * rules.image_size**2 and found.held > predictions.CONTEXT_BYTES
