"""Files of a store that were damaged, or written by somebody who means harm: what reads it names them, and loses nothing else."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import PROTOCOLS
from benchmark.records.ablations import FOLDER, Ablation, Design, remember, remembered
from benchmark.records.exchange import export, merge
from benchmark.records.identity import Cell, Trial
from benchmark.records.schema import describe_cell
from benchmark.records.status import counts, statuses
from benchmark.records.store import DONE, PROGRESS, CellFolder, Store
from benchmark.records.table import Records, collect
from reports.tables.escaping import to_csv
from reports.tables.latex import to_latex
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown
from reports.writing.report import write_report
from tests.fuzz.fuzzing import SECONDS, damage, few, spend

HOSTILE: list[Any] = [
    *[
        None,
        True,
        -1,
        0,
        1,
        2**53,
        2**63,
        10**9,
        1e308,
        -1e308,
        5e-324,
        float("nan"),
        float("inf"),
        "",
        " ",
        "x" * 400,
        "x" * 3000,
    ],
    *[
        "$\\frac{$",
        "=1+1",
        "<img src=x>",
        "\ud800",
        "\0",
        "a\nb",
        "../..",
        "/etc",
        "cps",
        "done",
        "9999-99-99",
        "|",
        "\\",
        "é" * 200,
    ],
    *[[], {}, [[]], {"": None}, [0.5] * 50, [[1, 0.5], [2, float("nan")]], {"low": 1, "high": 0}, ["a"] * 3],
]
METHODS = ("supervised", "cps", "entropy_min")
GOOD = "supervised"
"""Whose cells stay as they are."""


def cell(method: str, seed: int, labels: int = 1, trial: Trial | None = None) -> Cell:
    """A cell that never ran."""
    about: dict[str, Any] = {"dataset": "phantom", "data_hash": "0", "method": method, "variant": method, "trial": trial}
    about |= {"hparams": {"learning_rate": 1.0}, "labelled": ("a",), "protocol": PROTOCOLS["smoke"]}
    return Cell(labels=labels, draw=0, seed=seed, **about)


def finish(store: Store, one: Cell) -> None:
    """Put down what the cell would have left behind."""
    code = {"code": {"method": "c1", "registration": None, "harness": 1}, "code_hash": "c1", "ended": "2026-01-01"}
    about = {"outcome": "done", "error": None, "seconds": 3.5, "parameters": 10, "passes": 1.0, "peak_memory_mb": 9.5}
    about |= {"reported": "unet", "best_step": 20, "steps_done": 20, "looks": [[10, 0.4], [20, 0.5]], "validation": 0.5}
    about |= {
        "validation_last": 0.5,
        "never_predicted": [],
        "effective": {},
        "train_cases": 3,
        "val_cases": 1,
        "spacing_unit": "mm",
    }
    record = describe_cell(one) | code | about | {"environment": {"torch": "2", "revision": "0123"}}
    rows = [
        f"test,00{case},00{case}_a,{name},unet,last,{metric},0.{case + 3 + one.seed}"
        for case in (1, 2)
        for name in ("lv", "rv")
        for metric in ("dsc", "hd95", "assd", "nsd")
    ]
    store.folder(one).finish(
        {
            "cell.json": one.model_dump_json(indent=1),
            "history.csv": "step,loss\n20,0.5\n",
            "cases.csv": "\n".join(["test_set,case,volume,class,network,selection,metric,value", *rows, ""]),
            "record.json": json.dumps(record),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Cells that are done, failed, planned and tried, and an ablation."""
    made = Store(tmp_path / "store")
    for method in METHODS:
        for seed in (0, 1):
            finish(made, cell(method, seed))
    searched = {"learning_rate": {"low": 0.1, "high": 10.0, "log": True}}
    for number in (0, 1):
        trial = Trial(study="s", of="cps", number=number, sampler="tpe", searched=searched)
        finish(made, cell("cps", 0, trial=trial))
    bad = cell("entropy_min", 2)
    made.folder(bad).plan(bad)
    made.folder(bad).write("record.json", json.dumps(describe_cell(bad) | {"outcome": "failed", "error": "E: x"}))
    later = cell("entropy_min", 3)
    made.folder(later).plan(later)
    note = {"host": "h", "process": 1, "device": "cpu", "since": 1.0, "step": 1, "total": 2, "loss": 0.5, "validation": 0.5}
    made.folder(later).tell(note)
    remember(Ablation("phantom", "smoke", Design("cps", {"a": ("0", "1")}, {"cps": ("0",), "entropy_min": ("1",)})), made)
    return made


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of everything in a JSON value, the way there."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in parts for place in places(part, (*path, key)))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The JSON value with another part at the end of a way."""
    if not path:
        return new
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def harm(content: bytes, name: str, data: st.DataObject) -> bytes:
    """What stands in a file, changed by an accident or by somebody."""
    if name == "cases.csv" and data.draw(st.booleans()):
        text = content.decode()
        old = data.draw(st.sampled_from(["0.5", "lv", "unet", "test,", "001", "dsc", "last"]))
        new = data.draw(st.sampled_from(["nan", "inf", "-1e300", '"a,b"', '"', "=1+1", "", "x" * 300, "é", "1e999", "\t"]))
        return text.replace(old, new, data.draw(st.integers(1, 50))).encode()
    if name in ("history.csv", "cases.csv") or data.draw(st.integers(0, 3)) == 0:
        return damage(content, data)
    value = json.loads(content)
    for _ in range(data.draw(st.integers(1, 3))):
        value = put(value, data.draw(st.sampled_from(places(value))), data.draw(st.sampled_from(HOSTILE)))
    return json.dumps(value).encode()


def sums(folder: CellFolder) -> None:
    """Have the checksums say that all is as it was written, as somebody who means harm would."""
    from benchmark.ground.files import checksum

    known = json.loads((folder.path / DONE).read_bytes())
    (folder.path / DONE).write_text(json.dumps({name: checksum((folder.path / name).read_bytes()) for name in known}))


def read_all(store: Store, out: Path) -> list[str]:
    """Everything that reads a store but figures; returns what was said of files that were left out."""
    found, said = statuses(store)
    assert counts(found)
    records = collect(store)
    exported = export(store, out / "export")
    merged = merge(store.root, Store(out / "merged"))
    told: list[str] = []
    remembered(store, tell=told.append)
    mine = records.cells[records.cells["method"] == GOOD]
    assert (
        list(mine["outcome"]) == ["done", "done"]
        and len(records.cases["cell"].isin(mine["cell"]).to_numpy().nonzero()[0]) == 32
    )
    return [*said, *records.notes, *exported.refused, *merged.refused, *told]


def files_of(store: Store) -> list[Path]:
    cells = [path for path in store.root.glob("*/*/*/*") if path.parts[-3] != GOOD]
    return sorted(
        [*cells, *store.root.glob(f"*/*/*/{PROGRESS}"), *(store.root / FOLDER).iterdir(), *store.root.glob(f"*/[ce]*/*/{DONE}")]
    )


def tables(records: Records) -> None:
    """What a report says in words and numbers."""
    board = leaderboard(records)
    for text in (to_csv, to_markdown, to_latex):
        assert GOOD in text(board)


def fuzz(store: Store, tmp_path: Path, reports: bool) -> str:
    outcomes, files = Counter[str](), files_of(store)

    @(settings(few, max_examples=1) if reports else few)
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(files))
        folder, whole = CellFolder(path.parent), path.read_bytes()
        done = (path.parent / DONE).read_bytes() if (path.parent / DONE).exists() else b""
        path.write_bytes(harm(whole, path.name, data))
        if done and path.name != DONE and (reports or data.draw(st.booleans())):
            sums(folder)
        try:
            said = read_all(store, tmp_path)
            assert all(len(text.splitlines()) == 1 and len(text) < 1500 for text in said), said
            tables(collect(store))
            if reports:
                write_report(collect(store), tmp_path / "report", GOOD, remembered(store, tell=said.append))
            outcomes["refused" if said else "read"] += 1
        except BadInput as error:
            assert len(str(error).splitlines()) == 1
            outcomes["refused"] += 1
        finally:
            path.write_bytes(whole)
            if done:
                (path.parent / DONE).write_bytes(done)
            for place in ("export", "merged", "report"):
                shutil.rmtree(tmp_path / place, ignore_errors=True)

    return spend(batch, outcomes)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("reports", [False, True], ids=["read", "reported"])
def test_a_store_with_a_bad_file_is_read_without_it(
    reports: bool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if reports and SECONDS < 60:
        pytest.skip("figures take seconds; make fuzz draws them")
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a store that nobody keeps
    assert not [text for text in read_all(store, tmp_path / "first") if "left out" in text]
    told = fuzz(store, tmp_path, reports)
    with capsys.disabled():
        print(f"\nstores that are {'reported' if reports else 'read'}: {told}")
