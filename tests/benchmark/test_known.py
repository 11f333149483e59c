"""The index of finished cells: nothing is read again that need not be, and nothing is believed that may have changed."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.ground import registry
from benchmark.ground.errors import DiskFull
from benchmark.launchers.site import Site
from benchmark.records import known
from benchmark.records.fingerprint import HARNESS, method_code
from benchmark.records.known import FILE, LOOKED_AT
from benchmark.records.schema import describe_cell
from benchmark.records.status import statuses
from benchmark.records.store import BEST, WEIGHTS, CellFolder, Store
from benchmark.study.session import Finished, Session
from tests.benchmark.test_exchange import TABLE, cell, finish


def finish_now(store: Store, seed: int) -> CellFolder:
    """A cell that this code has made."""
    one = cell(seed)
    code = {"method": method_code(one.method), "registration": None, "harness": HARNESS}
    record = describe_cell(one) | {"outcome": "done", "code": code, "code_hash": "c", "ended": "2026-01-01"}
    folder = store.folder(one)
    folder.finish(
        {
            "cell.json": one.model_dump_json(indent=1),
            "history.csv": "step\n",
            WEIGHTS: b"weights",
            BEST: b"better weights",
            "cases.csv": TABLE.format(0.5),
            "record.json": json.dumps(record),
        }
    )
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two cells of this code, one of other code, one that has not run."""
    store = Store(tmp_path / "runs")
    finish_now(store, 0)
    finish_now(store, 1)
    finish(store, cell(2))
    store.folder(cell(3)).plan(cell(3))
    return store


STATES = ["done", "done", "outdated", "to do"]


def states(store: Store) -> list[str]:
    return [status.state for status in statuses(store)[0]]


def read_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells of which a file is read from now on."""
    read, original = list[str](), CellFolder.read

    def told(folder: CellFolder, name: str, most: int | None = None) -> bytes:
        read.append(folder.path.name)
        return original(folder, name, most)

    monkeypatch.setattr(CellFolder, "read", told)
    return read


def test_a_finished_cell_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = statuses(store)
    read = read_by(monkeypatch)
    assert statuses(store) == first and [status.state for status in first[0]] == STATES
    assert set(read) == {cell(3).id}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_file_that_was_written_again_is_seen(store: Store, name: str) -> None:
    """Though it has as many bytes and the same time as before."""
    assert states(store) == STATES
    path = store.folder(cell(0)).path / name
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert states(store) == (
        STATES[1:] if name == "cell.json" else ["damaged", *STATES[1:]]
    )  # no cell.json: told beside the list


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_file_that_is_gone_is_seen(store: Store, name: str) -> None:
    assert states(store) == STATES
    (store.folder(cell(0)).path / name).unlink()
    assert states(store)[-3:] == STATES[1:] and "done" not in states(store)[:-3]


def test_other_code_is_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(store) == STATES
    monkeypatch.setattr(known, "sources", lambda: "other")
    monkeypatch.setattr("benchmark.records.fingerprint.HARNESS", HARNESS + 1)
    assert states(store) == ["outdated", "outdated", "outdated", "to do"]


def test_the_hash_of_all_code_changes_with_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.records.fingerprint import sources

    before = sources.__wrapped__()
    for package in ("benchmark", "datasets", "reports", "methods"):
        shutil.copytree(Path(__file__).parents[2] / package, tmp_path / package)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: type("", (), {"submodule_search_locations": [tmp_path / name]})
    )
    assert sources.__wrapped__() == before
    file = tmp_path / "methods" / "cctr" / "method.py"
    file.write_text(file.read_text() + "#")
    assert sources.__wrapped__() != before


@pytest.mark.parametrize("content", [b"", b"[]", b'{"of": 1}', b"\xff\x00", b"[" * 100_000])
def test_an_index_that_is_none_is_made_again(store: Store, content: bytes) -> None:
    states(store)
    index = store.cache / FILE
    good = json.loads(index.read_bytes())
    index.write_bytes(content)
    assert states(store) == STATES and json.loads(index.read_bytes()) == good


@pytest.mark.parametrize("row", [None, 1, [], ["x"], [None, True], {"a": 1}])
def test_a_row_that_is_none_is_not_believed(store: Store, row: object) -> None:
    states(store)
    index = store.cache / FILE
    content = json.loads(index.read_bytes())
    content["cells"] = dict.fromkeys(content["cells"], row)
    index.write_text(json.dumps(content))
    assert states(store) == STATES


def test_a_copied_store_is_looked_at_again(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states(store)
    shutil.copytree(store.root, tmp_path / "copy")
    read = read_by(monkeypatch)
    assert states(Store(tmp_path / "copy")) == STATES
    assert {cell(seed).id for seed in range(4)} <= set(read)


def test_a_store_that_cannot_be_written_is_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(known, "write_atomically", full)
    assert states(store) == STATES and not (store.cache / FILE).exists()


def test_nothing_is_kept_of_a_plug_ins_method(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code may be anywhere, and change without that of this project."""
    entry = registry.entries("methods")["supervised"]
    monkeypatch.setattr(
        registry, "entries", lambda package: {"supervised": registry.Entry("supervised", entry.module, "", "x.py")}
    )
    states(store)
    read = read_by(monkeypatch)
    assert states(store) == STATES and {cell(seed).id for seed in range(4)} <= set(read)


def test_a_run_that_calls_a_cell_otherwise_changes_no_list(store: Store) -> None:
    """A variant's name changes with the defaults; the cell keeps the one that it was made under."""
    asked = cell(0).model_copy(update={"variant": "supervised[learning_rate=1.0]"})
    Session([asked], store.root, Site(), "none", Console(file=io.StringIO()))
    assert [status.about.variant for status in statuses(store)[0]] == ["supervised"] * 4


@pytest.mark.parametrize("finished, waiting", [("renew", [2, 3]), ("keep", [3]), ("again", [0, 1, 2, 3])])
def test_a_run_goes_by_it(store: Store, monkeypatch: pytest.MonkeyPatch, finished: Finished, waiting: list[int]) -> None:
    def todo() -> list[int]:
        cells = [cell(seed) for seed in range(4)]
        session = Session(cells, store.root, Site(), "none", Console(file=io.StringIO()), finished)
        return [one.seed for one in session.todo]

    assert todo() == waiting
    read = read_by(monkeypatch)
    assert todo() == waiting
    assert (cell(0).id in read) == (finished == "again")
    (store.folder(cell(1)).path / "cases.csv").write_text("other")
    assert todo() == sorted({1, *waiting})
