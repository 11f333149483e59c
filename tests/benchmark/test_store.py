"""Cell folders: atomic, locked, checksummed; and the tables that come out."""

import errno
import json
import multiprocessing
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.errors import BadInput, DiskFull
from benchmark.files import write_atomically
from benchmark.records import collect
from benchmark.store import CellFolder, Store


def test_a_cell_is_done_only_with_every_file_as_written(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path)
    assert not folder.done()
    folder.checkpoint.write_bytes(b"state")
    folder.finish({"a.txt": "one", "b.bin": b"two"})
    assert folder.done() and not folder.checkpoint.exists()
    (tmp_path / "b.bin").write_bytes(b"twO")
    assert not folder.done()
    (tmp_path / "b.bin").unlink()
    assert not folder.done()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"missing.txt": "0"}'])
def test_a_broken_done_file_means_not_done(tmp_path: Path, content: str) -> None:
    (tmp_path / ".done").write_text(content)
    assert not CellFolder(tmp_path).done()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(DiskFull, match=f"no space is left on the disk .* of {tmp_path}; free some"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def _try_lock(path: Path, queue: "multiprocessing.Queue[bool]") -> None:
    with CellFolder(path).lock() as mine:
        queue.put(mine is not None)


def test_only_one_process_holds_a_cell(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    answers = []
    with CellFolder(tmp_path).lock() as mine:
        assert mine
        for _ in range(2):
            process = context.Process(target=_try_lock, args=(tmp_path, queue))
            process.start()
            answers.append(queue.get(timeout=20))
            process.join()
    process = context.Process(target=_try_lock, args=(tmp_path, queue))
    process.start()
    assert answers == [False, False] and queue.get(timeout=20) is True
    process.join()


def record(outcome: str, **more: object) -> str:
    return json.dumps({"cell": "c1", "outcome": outcome, "hparams": {}, "labelled": [], "environment": {}, **more})


def test_collect_gives_finished_and_failed_cells_and_leaves_out_damaged_ones(tmp_path: Path) -> None:
    table = "test_set,case,volume,class,network,selection,metric,value\ntest,001,001_a,lv,network,last,dsc,0.5\n"
    CellFolder(tmp_path / "d/m/good").finish({"cases.csv": table, "record.json": record("done")})
    CellFolder(tmp_path / "d/m/damaged").finish({"cases.csv": table, "record.json": record("done", cell="c2")})
    (tmp_path / "d/m/damaged/cases.csv").write_text(table.replace("0.5", "0.9"))
    CellFolder(tmp_path / "d/m/failed").write("record.json", record("failed", cell="c3", error="E: x"))
    records = collect(Store(tmp_path))
    assert sorted(records.cells["cell"]) == ["c1", "c3"]
    assert records.cases["case"].tolist() == ["001"] and records.cases["cell"].tolist() == ["c1"]


def test_collect_of_nothing(tmp_path: Path) -> None:
    assert collect(Store(tmp_path)).cells.empty
    with pytest.raises(BadInput, match="--store"):
        collect(Store(tmp_path / "missing"))


def test_tables_are_the_same_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["test,001,001_a,lv,network,last,dsc,0.5123456789012345", 'test,"b, c",b_1,rv,network,last,hd95,']
    table = "\n".join(["test_set,case,volume,class,network,selection,metric,value", *rows, ""])
    CellFolder(tmp_path / "d/m/good").finish({"cases.csv": table, "record.json": record("done")})
    quick = collect(Store(tmp_path)).cases
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    plain = collect(Store(tmp_path)).cases
    pd.testing.assert_frame_equal(quick, plain)
    assert plain["case"].tolist() == ["001", "b, c"] and plain["value"].tolist()[0] == 0.5123456789012345
