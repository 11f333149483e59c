"""Records that travel between stores."""

import json
from pathlib import Path

import pytest

from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import PROTOCOLS
from benchmark.records.exchange import export, merge
from benchmark.records.identity import Cell
from benchmark.records.schema import Record, describe_cell
from benchmark.records.store import WEIGHTS, CellFolder, Store
from benchmark.records.table import collect

TABLE = "test_set,case,volume,class,network,selection,metric,value\ntest,001,001_a,lv,network,last,dsc,{}\n"
ENVIRONMENT = {"torch": "2.13.0", "host": "alices-desk", "process": 4711}


def cell(seed: int = 0, method: str = "supervised") -> Cell:
    return Cell(
        dataset="phantom",
        data_hash="0",
        method=method,
        variant=method,
        hparams={"learning_rate": 1.0},
        labels=1,
        draw=0,
        seed=seed,
        labelled=("a",),
        protocol=PROTOCOLS["smoke"],
        command="python -m benchmark run --data /home/alice/x --tracking http://alice:S3cret@host",
    )


def finish(
    store: Store, one: Cell, dsc: float = 0.5, code: str = "c1", ended: str = "2026-01-01", **more: object
) -> CellFolder:
    folder = store.folder(one)
    made_by = {"code": {"method": code, "registration": None, "harness": 1}, "code_hash": code, "ended": ended}
    record = describe_cell(one) | made_by | {"outcome": "done", "command": one.command, "environment": ENVIRONMENT} | more
    files: dict[str, bytes | str] = {
        "cell.json": one.model_dump_json(indent=1),
        "history.csv": "step\n",
        WEIGHTS: b"weights",
        "cases.csv": TABLE.format(dsc),
        "record.json": json.dumps(record, indent=1),
    }
    folder.finish(files)
    return folder


def test_the_schema_knows_every_field_that_a_cell_writes(tmp_path: Path) -> None:
    assert set(describe_cell(cell())) <= set(Record.model_fields)
    written = json.loads((finish(Store(tmp_path), cell()).path / "record.json").read_text())
    read = Store(tmp_path).folder(cell()).record()
    assert read is not None and {key: read[key] for key in written} == written


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fill(store: Store) -> None:
    """A finished cell, one that has not run, and a failed one."""
    finish(store, cell(0))
    store.folder(cell(1)).plan(cell(1))
    failed = describe_cell(cell(2)) | {"outcome": "failed", "error": "E: in /home/alice/x"}
    store.folder(cell(2)).plan(cell(2))
    store.folder(cell(2)).write("record.json", json.dumps(failed))


def test_an_export_is_a_store_of_records_alone(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "runs"), tmp_path / "out"
    fill(store)
    (store.root / "cache").mkdir()
    (store.root / "cache" / "x.h5").write_bytes(b"patients")
    assert str(export(store, out)) == "3 added, 0 renewed, 0 there already"
    names = {name.rpartition("/")[2] for name in everything(out)}
    assert names == {"cell.json", "record.json", "history.csv", "cases.csv", ".done"}
    assert not any(b"S3cret" in content or b"alice" in content or b"4711" in content for content in everything(out).values())
    assert Store(out).folder(cell(0)).done() and not Store(out).folder(cell(0)).done(WEIGHTS)
    assert not Store(out).folder(cell(1)).done() and not Store(out).folder(cell(2)).done()
    found, original = collect(Store(out)), collect(store)
    assert sorted(found.cells["outcome"]) == ["done", "failed", "unfinished"]
    assert found.cases.equals(original.cases)
    before = everything(out)
    assert str(export(store, out)) == "0 added, 0 renewed, 3 there already" and everything(out) == before


def test_two_exports_merge_into_what_one_store_would_hold(tmp_path: Path) -> None:
    a, b, both = (Store(tmp_path / name) for name in ("a", "b", "both"))
    for number, one in enumerate([cell(0), cell(1), cell(0, "cps"), cell(1, "cps")]):
        finish((a, b)[number % 2], one, 0.5 + number / 10)
        finish(both, one, 0.5 + number / 10)
    merged = Store(tmp_path / "merged")
    for store in (a, b):
        export(store, tmp_path / "out" / store.root.name)
        merge(tmp_path / "out" / store.root.name, merged)
    export(both, tmp_path / "one")
    assert everything(merged.root) == everything(tmp_path / "one")


def test_the_same_cell_with_other_numbers_is_refused_and_named(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    finish(store, cell(), 0.5)
    finish(other, cell(), 0.6)
    finish(other, cell(1), 0.7)
    before = store.folder(cell()).stamp()
    outcome = merge(other.root, store)
    assert (outcome.added, len(outcome.refused)) == (1, 1)
    assert "dsc,0.6 against" in outcome.refused[0] and cell().id in outcome.refused[0]
    assert store.folder(cell()).stamp() == before


def test_newer_code_goes_before_older_and_finished_before_failed(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    finish(store, cell(0), 0.5, code="old", ended="2026-01-01")
    finish(other, cell(0), 0.6, code="new", ended="2026-01-02")
    store.folder(cell(1)).plan(cell(1))
    store.folder(cell(1)).write("record.json", json.dumps(describe_cell(cell(1)) | {"outcome": "failed", "error": "E"}))
    finish(other, cell(1), 0.7, code="new")
    assert str(merge(other.root, store)) == "0 added, 2 renewed, 0 there already"
    assert sorted(collect(store).cases["value"]) == [0.6, 0.7]
    finish(other, cell(0), 0.5, code="old", ended="2026-01-01")
    assert str(merge(other.root, store)) == "0 added, 0 renewed, 2 there already"


def test_weights_come_to_a_store_that_had_the_records_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    finish(store, cell())
    export(store, tmp_path / "out")
    assert str(merge(store.root, Store(tmp_path / "out"))) == "0 added, 1 renewed, 0 there already"
    assert Store(tmp_path / "out").folder(cell()).done(WEIGHTS)


def test_what_is_damaged_or_out_of_place_is_refused_alone(tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), Store(tmp_path / "out")
    finish(store, cell(0))
    (finish(store, cell(1)).path / "cases.csv").write_text(TABLE.format(0.9))
    store.folder(cell(2)).plan(cell(2))
    elsewhere = store.root / "phantom" / "cps" / cell(2).id
    elsewhere.parent.mkdir()
    store.folder(cell(2)).path.rename(elsewhere)
    bad = finish(store, cell(3), variant=3)
    outcome = merge(store.root, out)
    assert outcome.added == 1 and len(outcome.refused) == 3
    text = "\n".join(outcome.refused)
    assert "cases.csv is not as it was written" in text and "does not belong there" in text and str(bad.path) in text
    assert [folder.path.name for folder in out.planned()] == [cell(0).id]


def test_bad_places_are_one_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for call in (lambda: export(Store(tmp_path / "no"), tmp_path / "x"), lambda: export(store, tmp_path)):
        with pytest.raises(BadInput, match="expected"):
            call()
