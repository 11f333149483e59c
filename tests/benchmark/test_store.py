"""Cell folders: atomic, locked, checksummed; and the tables that come out."""

import errno
import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmark.ground import files
from benchmark.ground.errors import BadInput, DiskFull
from benchmark.ground.files import checksum, file_checksum, note_sum, read_plain, write_atomically
from benchmark.records import store as store_module
from benchmark.records.store import CellFolder, Store
from benchmark.records.table import collect
from tests.reports import made_up_records as made_up


def test_a_cell_is_done_only_with_every_file_as_written(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path)
    assert not folder.done()
    folder.checkpoint.write_bytes(b"state")
    folder.finish({"history.csv": "one", "model.safetensors": b"two"})
    assert folder.done() and not folder.checkpoint.exists()
    (tmp_path / "model.safetensors").write_bytes(b"twO")
    assert not folder.done()
    (tmp_path / "model.safetensors").unlink()
    assert not folder.done()


@pytest.mark.parametrize("harm", ["none", "a bit", "a bit, and its time", "gone", "no note", "another outcome"])
def test_weights_are_read_again_only_where_somebody_has_touched_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    folder = CellFolder(tmp_path / "a" / "b" / "c")
    folder.finish({"cases.csv": "x", "model.safetensors": b"weights", "best.safetensors": b"more"})
    file = folder.path / "model.safetensors"
    about = file.stat()
    if harm.startswith("a bit"):
        file.write_bytes(b"weightz")
    if harm.endswith("time"):
        os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    if harm == "gone":
        file.unlink()
    if harm == "no note":
        (folder.path / ".left").unlink()
    if harm == "another outcome":
        (folder.path / ".done").write_text(
            (folder.path / ".done").read_text().replace(checksum(b"weights"), checksum(b"other"))
        )
    wrong = [] if harm in ("none", "no note") else ["model.safetensors"]
    assert folder.damaged() == folder.damaged(read_all=False) == wrong
    read: list[str] = []
    monkeypatch.setattr(store_module, "read_plain", lambda path, *most: read.append(path.name) or read_plain(path, *most))
    folder.damaged(read_all=False)
    assert ("best.safetensors" in read) == (harm == "no note")


@pytest.mark.parametrize(
    ("what", "whole", "reads"),
    [
        ("untouched", True, False),
        ("copied", True, True),
        ("reached by a link", True, False),
        ("a note of an earlier version", True, True),
        ("a bit, and its time", False, True),
        ("a bit of the note", False, False),
        ("no note", False, False),
        ("gone", False, True),
    ],
)
def test_a_cached_file_is_read_again_only_where_somebody_has_touched_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, whole: bool, reads: bool
) -> None:
    file, read = tmp_path / "set.h5", []
    note = file.with_suffix(".sha256")
    file.write_bytes(b"volumes")
    note_sum(file)
    about = file.stat()
    match what:
        case "copied":
            file.rename(old := tmp_path / "old")
            shutil.copy2(old, file)
        case "reached by a link":
            (tmp_path / "link.h5").symlink_to(file)
            file = tmp_path / "link.h5"
        case "a note of an earlier version":
            note.write_text(checksum(b"volumes"))
        case "a bit, and its time":
            file.write_bytes(b"volumez")
            os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
        case "a bit of the note":
            note.write_text(note.read_text().replace(" ", " 1", 1))
        case "no note":
            note.unlink()
        case "gone":
            file.unlink()
    monkeypatch.setattr(files, "file_checksum", lambda path: read.append(path) or file_checksum(path))
    assert files.is_whole(file) == whole and bool(read) == reads
    read.clear()
    assert files.is_whole(file) == whole and not (whole and read)


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


def test_whether_a_cell_is_held_is_asked_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = CellFolder(tmp_path / "mine"), CellFolder(tmp_path / "other")
    assert not other.held() and not other.path.exists()
    with mine.lock():
        lease = mine.path / ".lease"
        before = lease.read_bytes(), lease.stat().st_mtime_ns, sorted(tmp_path.rglob("*"))
        assert mine.held()
        assert (lease.read_bytes(), lease.stat().st_mtime_ns, sorted(tmp_path.rglob("*"))) == before
        dead = lease.read_text().replace(str(os.getpid()), str(2**22 - 1))
    assert not mine.held()
    other.path.mkdir()
    (other.path / ".lease").write_text(dead)
    assert not other.held() and (other.path / ".lease").read_text() == dead


def record(outcome: str, **more: object) -> str:
    return json.dumps(made_up.record(**{"cell": "c1", "outcome": outcome, **more}))


def test_collect_gives_finished_and_failed_cells_and_leaves_out_damaged_ones(tmp_path: Path) -> None:
    table = "test_set,case,volume,class,network,selection,metric,value\ntest,001,001_a,lv,network,last,dsc,0.5\n"
    CellFolder(tmp_path / "d/m/good").finish({"cases.csv": table, "record.json": record("done")})
    CellFolder(tmp_path / "d/m/damaged").finish({"cases.csv": table, "record.json": record("done", cell="c2")})
    (tmp_path / "d/m/damaged/cases.csv").write_text(table.replace("0.5", "0.9"))
    CellFolder(tmp_path / "d/m/failed").write("record.json", record("failed", cell="c3", error="E: x"))
    records = collect(Store(tmp_path))
    assert sorted(records.cells["cell"]) == ["c1", "c3"]
    assert records.cases["case"].tolist() == ["001"] and records.cases["cell"].tolist() == ["c1"]


def test_runs_from_before_a_default_changed_stand_under_their_own_name(tmp_path: Path) -> None:
    """Not refused, as one run twice; and at no budget under the name of the newer values."""
    table = "test_set,case,volume,class,network,selection,metric,value\ntest,001,001_a,lv,network,last,dsc,0.5\n"
    old, new = {"contrast": 0.002, "rsl": True}, {"contrast": 0.1, "rsl": True, "added": 1}
    made: list[dict[str, object]] = [
        {"hparams": old, "labels": 1, "ended": "2026-01-01"},
        {"hparams": old, "labels": 3, "ended": "2026-01-01"},
        {"hparams": old | {"rsl": False}, "variant": "cctr[rsl=false]", "labels": 1, "ended": "2026-01-01"},
        {"hparams": new | {"rsl": False}, "variant": "cctr[rsl=false]", "labels": 1, "ended": "2026-02-01"},
        {"hparams": new, "labels": 1, "ended": "2026-02-01"},
        {"hparams": {"contrast": 0.3}, "labels": 1, "kind": "tuned", "variant": "cctr (tuned)"},
        {"hparams": {"contrast": 0.4}, "labels": 3, "kind": "tuned", "variant": "cctr (tuned)"},
    ]
    for number, about in enumerate(made):
        content = record("done", **({"cell": f"c{number}", "variant": "cctr", "protocol_hash": "p0"} | about))
        CellFolder(tmp_path / f"d/m/c{number}").finish({"cases.csv": table, "record.json": content})
    records = collect(Store(tmp_path))
    assert [records.cells.set_index("cell")["variant"][f"c{number}"] for number in range(len(made))] == [
        *["cctr[contrast=0.002]", "cctr[contrast=0.002]", "cctr[rsl=false,contrast=0.002]", "cctr[rsl=false]", "cctr"],
        *["cctr (tuned)", "cctr (tuned)"],
    ]
    told = [note for note in records.notes if "values that it stands for" in note]
    assert len(told) == 2 and told[0].endswith("runs with earlier ones are called cctr[contrast=0.002]")


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


TABLE = "test_set,case,volume,class,network,selection,metric,value\ntest,001,001_a,lv,network,last,dsc,0.5\n"


def finished(folder: Path, table: str = TABLE, **about: object) -> CellFolder:
    cell = CellFolder(folder)
    made_by = {} if "code_hash" in about else code("c0")
    cell.finish({"cases.csv": table, "record.json": record("done", **made_by | about)})
    return cell


def code(name: str) -> dict[str, object]:
    return {"code": {"method": name, "registration": None, "harness": 1}, "code_hash": name, "version": 2}


def test_runs_of_different_code_never_share_a_row(tmp_path: Path) -> None:
    old, new = code("old") | {"ended": "2026-01-01T00:00:00+00:00"}, code("new") | {"ended": "2026-01-02T00:00:00+00:00"}
    for run, made_by in enumerate([old, new, old, new]):
        finished(tmp_path / f"d/m/c{run}", cell=f"c{run}", seed=run, draw=0, **made_by)
    CellFolder(tmp_path / "d/m/c4").write("record.json", record("failed", cell="c4", seed=4, error="E", **old))
    newest = collect(Store(tmp_path))
    assert sorted(newest.cells["cell"]) == ["c1", "c3", "c4"] and set(newest.cases["cell"]) == {"c1", "c3"}
    assert len(newest.notes) == 1 and "2 by old" in newest.notes[0] and "newest is new" in newest.notes[0]
    everything = collect(Store(tmp_path), code="all")
    assert sorted(set(everything.cells["variant"])) == ["cctr", "cctr (code old)"]
    assert len(everything.cells) == 5 and len(everything.cases) == 4


def test_one_cell_in_two_stores_counts_once_with_its_newest_code(tmp_path: Path) -> None:
    finished(tmp_path / "a/d/m/c1", **code("old"), ended="2026-01-01T00:00:00+00:00")
    finished(tmp_path / "b/d/m/c1", TABLE.replace("0.5", "0.7"), **code("new"), ended="2026-01-02T00:00:00+00:00")
    for stores in (["a", "b"], ["b", "a"]):
        found = collect(*(Store(tmp_path / name) for name in stores))
        assert found.cells["cell"].tolist() == ["c1"] and found.cases["value"].tolist() == [0.7]
    assert len(collect(Store(tmp_path / "a"), Store(tmp_path / "b"), code="all").cells) == 2


def test_records_of_before_there_were_fingerprints_are_read_and_are_the_oldest(tmp_path: Path) -> None:
    finished(tmp_path / "d/m/c1", cell="c1", seed=0, code_hash="0123abcd")
    alone = collect(Store(tmp_path))
    assert alone.cells["code_hash"].tolist() == ["unknown"]
    assert alone.notes == ("1 finished cell was made by a version that did not note its code, which is unknown",)
    finished(tmp_path / "d/m/c2", cell="c2", seed=1, **code("new"), ended="2026-01-02T00:00:00+00:00")
    found = collect(Store(tmp_path))
    assert found.cells["cell"].tolist() == ["c2"] and "1 by unknown" in found.notes[0]


def test_earlier_versions_with_other_hashes_do_not_hide_newer_cells(tmp_path: Path) -> None:
    finished(tmp_path / "d/m/c1", cell="c1", variant="a", code_hash="0123abcd", data_hash="before")
    finished(tmp_path / "d/m/c2", cell="c2", variant="b", data_hash="now")
    found = collect(Store(tmp_path))
    assert found.cells["cell"].tolist() == ["c2"] and "cells of an earlier version (1)" in found.notes[0]


def test_different_versions_of_the_harness_side_by_side_are_told(tmp_path: Path) -> None:
    finished(tmp_path / "d/m/c1", cell="c1", **code("a"))
    other = code("b") | {"code": {"method": "b", "registration": None, "harness": 2}}
    finished(tmp_path / "d/n/c2", cell="c2", variant="cps", method="cps", **other)
    assert any("versions 1, 2 of training and evaluation" in note for note in collect(Store(tmp_path)).notes)


BAD_RECORDS = {
    "a list": "[]",
    "a number": "3",
    "nothing": "{}",
    "endless nesting": "[" * 100_000,
    "no UTF-8": b"\xff\xfe",
    "a huge variant": record("done", variant="x" * 3_000_000),
    "a line break in a name": record("done", variant="a\nb"),
    "a lone surrogate": record("done").replace('"cctr"', '"\\ud800"'),
    "a path as a name": record("done", method="../../elsewhere"),
    "no outcome of this world": record("triumphant"),
    "labels that are no number": record("done", labels="many"),
    "another version": record("done", version=99),
}


@pytest.mark.parametrize("what", BAD_RECORDS)
def test_one_bad_record_is_named_and_left_out(tmp_path: Path, what: str) -> None:
    finished(tmp_path / "d/m/good", cell="good")
    content = BAD_RECORDS[what]
    CellFolder(tmp_path / "d/m/bad").finish({"cases.csv": TABLE, "record.json": content})
    found = collect(Store(tmp_path))
    assert found.cells["cell"].tolist() == ["good"] and found.cases["cell"].tolist() == ["good"]
    assert len(found.notes) == 1 and str(tmp_path / "d/m/bad") in found.notes[0] and len(found.notes[0]) < 1000
    assert CellFolder(tmp_path / "d/m/bad").record() is None


BAD_TABLES = {
    "a wrong row": TABLE + "test,001\n",
    "a text for a number": TABLE.replace("0.5", "half"),
    "an open quote": TABLE + 'test,"001,001_a,lv,network,last,dsc,0.5\n',
    "no UTF-8": TABLE.encode() + b"test,\xff\xfe,001_a,lv,network,last,dsc,0.5\n",
    "other columns": TABLE.replace("volume", "scan"),
    "a huge field": TABLE + f'test,"{"x" * 200_000}",001_a,lv,network,last,dsc,0.5\n',
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_one_bad_table_is_named_and_left_out(tmp_path: Path, what: str) -> None:
    finished(tmp_path / "d/m/good", cell="good")
    CellFolder(tmp_path / "d/m/bad").finish(
        {"cases.csv": BAD_TABLES[what], "record.json": record("done", cell="bad", seed=1, **code("c0"))}
    )
    found = collect(Store(tmp_path))
    assert found.cells["cell"].tolist() == ["good"] and found.cases["cell"].tolist() == ["good"]
    assert len(found.notes) == 1 and str(tmp_path / "d/m/bad/cases.csv") in found.notes[0]


def test_a_note_of_progress_of_another_version_is_none(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    note = {
        "host": "h",
        "process": 1,
        "device": "cpu",
        "since": 0.0,
        "step": 1,
        "total": 2,
        "loss": float("nan"),
        "validation": 0.0,
    }
    cell.tell(note)
    told = cell.progress()
    assert told is not None and told["total"] == 2 and told["loss"] != told["loss"]
    cell.tell({key: value for key, value in note.items() if key != "total"})
    assert cell.progress() is None
