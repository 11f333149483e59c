"""Records in one file: the same cells, the same report, as hard to falsify as a folder, and read without opening folders."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmark.ground.errors import BadInput
from benchmark.records import packed
from benchmark.records.ablations import Ablation, Design, remember, remembered
from benchmark.records.exchange import export, merge, pack
from benchmark.records.packed import opened
from benchmark.records.status import statuses
from benchmark.records.store import KEPT, Store
from benchmark.records.table import collect
from tests.benchmark.test_exchange import cell, everything, fill, finish

ABLATION = Ablation(
    "phantom", "quick", Design("cctr", {"rsl": ("false", "true")}, {"cctr[rsl=false]": ("false",), "cctr": ("true",)})
)


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    """Finished cells, one of them used by other code, a failed one, one that has not run; and an ablation."""
    store = Store(tmp_path / "runs")
    fill(store)
    finish(store, cell(3), 0.7).write(KEPT, "0123456789ab")
    remember(ABLATION, store)
    return store


@pytest.fixture
def file(folder: Store, tmp_path: Path) -> Path:
    path = tmp_path / "records.parquet"
    assert not pack(folder, path).refused
    return path


def test_a_file_holds_what_an_export_holds(folder: Store, file: Path, tmp_path: Path) -> None:
    export(folder, tmp_path / "exported")
    ours, theirs = collect(Store(tmp_path / "exported")), collect(opened(file))
    assert len(ours.cells) == 4 and ours.cells.equals(theirs.cells) and ours.cases.equals(theirs.cases)
    assert ours.notes == theirs.notes
    assert remembered(opened(file), tell=pytest.fail) == [ABLATION]
    assert [(s.about, s.state) for s in statuses(opened(file))[0]] == [(s.about, s.state) for s in statuses(folder)[0]]


def test_a_file_becomes_a_folder_again(folder: Store, file: Path, tmp_path: Path) -> None:
    """Unpacked, it is what ``export`` writes: to the byte."""
    assert not merge(file, Store(tmp_path / "unpacked")).refused
    export(folder, tmp_path / "exported")
    assert everything(tmp_path / "unpacked") == everything(tmp_path / "exported")


def test_groups_of_cells_are_read_one_after_the_other(folder: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "GROUP_BYTES", 1)
    pack(folder, path := tmp_path / "groups.parquet")
    assert parquet.ParquetFile(path).num_row_groups >= len(folder.planned())
    assert collect(opened(path)).cases.equals(collect(folder).cases)


def changed(file: Path, column: str, row: int, value: object) -> None:
    """The file with another value there."""
    table = parquet.read_table(file)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    parquet.write_table(
        table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type)), file
    )


def test_a_changed_number_is_seen(file: Path, tmp_path: Path) -> None:
    """As in a folder: the checksums of the cell's own files tell."""
    table = parquet.read_table(file)
    row = next(i for i, done in enumerate(table[".done"].to_pylist()) if done)
    cell = table["cell"][row].as_py()
    changed(file, "cases.csv", row, table["cases.csv"][row].as_py().replace(b"0.", b"0.9", 1))
    records = collect(opened(file))
    assert records.cells.set_index("cell").outcome[cell] != "done"
    outcome = merge(file, Store(tmp_path / "other"))
    assert len(outcome.refused) == 1 and "is not as it was written" in outcome.refused[0]


@pytest.mark.parametrize("column, value", [("dataset", ".."), ("method", "a/b"), ("cell", "../../x"), ("cell", None)])
def test_a_place_that_leads_elsewhere_is_refused(file: Path, tmp_path: Path, column: str, value: str | None) -> None:
    changed(file, column, 0, value)
    with pytest.raises(BadInput, match="is no dataset, method and id of a cell"):
        merge(file, Store(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_cell_in_the_place_of_another_is_refused(file: Path, tmp_path: Path) -> None:
    changed(file, "cell", 0, "0123456789ab")
    assert any("does not belong there" in text for text in merge(file, Store(tmp_path / "other")).refused)


@pytest.mark.parametrize("what", ["text", "other", "truncated"])
def test_a_file_that_is_none(file: Path, what: str) -> None:
    match what:
        case "text":
            file.write_text("not a table")
        case "other":
            parquet.write_table(pa.table({"a": [1]}), file)
        case "truncated":
            file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match=f"{file.name} .*expected a file that `export --to parquet` has written"):
        collect(opened(file))


def test_a_group_that_is_damaged_costs_that_group(folder: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "GROUP_BYTES", 1)
    pack(folder, path := tmp_path / "groups.parquet")
    group = parquet.ParquetFile(path).metadata.row_group(0)
    names = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    start = names["cell.json"].data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + names["cell.json"].total_compressed_size] = b"\xff" * names["cell.json"].total_compressed_size
    start = names["record.json"].data_page_offset
    content[start : start + names["record.json"].total_compressed_size] = b"\xff" * names["record.json"].total_compressed_size
    path.write_bytes(bytes(content))
    records = collect(opened(path))
    assert len(records.cells) == len(collect(folder).cells) - 1
    assert any("cannot be read" in note for note in records.notes)


def test_nothing_that_is_no_such_file_is_written_over(folder: Store, tmp_path: Path) -> None:
    (tmp_path / "precious.parquet").write_text("mine")
    with pytest.raises(BadInput, match="precious"):
        pack(folder, tmp_path / "precious.parquet")
    assert (tmp_path / "precious.parquet").read_text() == "mine"


def test_what_is_refused_is_left_out(folder: Store, tmp_path: Path) -> None:
    done = next(f for f in folder.planned() if f.done())
    (done.path / "cases.csv").write_text("other")
    outcome = pack(folder, tmp_path / "records.parquet")
    assert outcome.refused == [f"{done.path / 'cases.csv'} is not as it was written"]
    assert done.path.name not in set(collect(opened(tmp_path / "records.parquet")).cells.cell)


def test_reading_opens_no_folder(folder: Store, file: Path) -> None:
    """What the file is for."""
    expected = collect(folder).cases
    shutil.rmtree(folder.root)
    assert collect(opened(file)).cases.equals(expected)


def test_no_file_is_left_of_an_export_that_was_cut_off(folder: Store, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "out" / "records.parquet", stop)
    assert not [p for p in Path(tmp_path / "out").rglob("*") if p.is_file()]
