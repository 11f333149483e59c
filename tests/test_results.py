"""What docs/results quotes is what its records say."""

import importlib.util
from pathlib import Path

from benchmark.records.store import Store
from benchmark.records.table import collect

ROOT = Path(__file__).resolve().parents[1]


def test_no_table_of_the_results_is_stale() -> None:
    spec = importlib.util.spec_from_file_location("results", ROOT / "tools" / "results.py")
    assert spec is not None and spec.loader is not None
    results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(results)
    text = (results.RESULTS / "README.md").read_text(encoding="utf-8")
    assert results.PLACE.search(text) and results.with_tables(text) == text, "make results"


def test_records_of_the_results_are_whole_and_say_nothing_of_a_machine() -> None:
    records = collect(Store(ROOT / "docs" / "results" / "acdc_desk"))
    assert not records.notes and (records.cells["outcome"] == "done").sum() >= 6
    for file in (ROOT / "docs" / "results" / "acdc_desk").rglob("record.json"):
        assert " /" not in (text := file.read_text(encoding="utf-8")) and '"host"' not in text, file
