"""Whatever stands in a store in the place of a file is named, costs nothing else, and is made again."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.cell.experiment import run_cell
from benchmark.ground.errors import BadInput
from benchmark.ground.files import seal, unseal
from benchmark.ground.rules import get_protocol
from benchmark.records.ablations import FOLDER, Ablation, Design, remember, remembered
from benchmark.records.exchange import export
from benchmark.records.identity import Cell
from benchmark.records.status import statuses
from benchmark.records.store import BEST, FILES, Store
from benchmark.records.table import collect
from benchmark.study.grid import expand, parse_methods
from datasets.contents import hash_of
from datasets.dataset import Volume
from datasets.preparing import _whole, open_dataset, prepare
from datasets.registration import Recipe, Registrations
from tests.damage import DAMAGE
from tests.datasets.layouts import acdc_slices

KINDS = ("flipped", "empty", "no text", "sealed nonsense", "folder", "dangling")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cell]:
    """A store of one finished cell, and the data beside it."""
    root = tmp_path_factory.mktemp("made")
    acdc_slices(root / "data")
    protocol = get_protocol("smoke").model_copy(update={"steps": 4, "validations": 1})
    (cell,) = expand(open_dataset("acdc", root / "data"), parse_methods("supervised"), [1], [(0, 0)], protocol, "")
    cell = cell.model_copy(update={"data": root / "data"})
    assert run_cell(cell, Store(root / "store"), "cpu") == "done"
    return root, cell


@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", sorted({*FILES, ".done", ".lease", ".progress", ".kept", "checkpoint"} - {BEST}))
def test_a_cell_with_a_damaged_file_is_read_without_it_and_runs_again(
    made: tuple[Path, Cell], tmp_path: Path, name: str, damage: str
) -> None:
    root, cell = made
    shutil.copytree(root / "store", tmp_path / "store")
    store = Store(tmp_path / "store")
    folder = store.folder(cell)
    if not (folder.path / name).exists():
        (folder.path / name).write_bytes(b"something that was here")
    DAMAGE[damage](folder.path / name)
    collect(store)
    statuses(store)
    export(store, tmp_path / "out")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_symlink() or b"\0" in file.name.encode()]
    assert folder.done() == (name not in (*FILES, ".done"))
    if damage != "folder" and name != "record.json":  # the rest would take minutes
        return
    assert run_cell(cell, store, "cpu") == "done" and folder.done()
    for file in ("model.safetensors", "cases.csv"):
        assert (folder.path / file).read_bytes() == (root / "store" / folder.path.relative_to(store.root) / file).read_bytes()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_file_in_the_place_of_a_cells_folder_is_set_aside(
    made: tuple[Path, Cell], tmp_path: Path, level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    _, cell = made
    place = (tmp_path / cell.dataset, tmp_path / cell.dataset / cell.method, Store(tmp_path).folder(cell).path)[level]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("in the way")
    Store(tmp_path).folder(cell).plan(cell)
    assert (Store(tmp_path).folder(cell).path / "cell.json").is_file()
    (aside,) = place.parent.glob(f"{place.name}.damaged-*")
    assert aside.read_text() == "in the way" and aside.name in capsys.readouterr().err


@pytest.mark.parametrize("level", [0, 1, 2])
def test_links_do_not_lead_out_of_a_store(made: tuple[Path, Cell], tmp_path: Path, level: int) -> None:
    root, cell = made
    shutil.copytree(root / "store", tmp_path / "elsewhere")
    inside, outside = Store(tmp_path / "store").folder(cell).path, Store(tmp_path / "elsewhere").folder(cell).path
    for _ in range(2 - level):
        inside, outside = inside.parent, outside.parent
    inside.parent.mkdir(parents=True)
    inside.symlink_to(outside)
    store = Store(tmp_path / "store")
    found, unreadable = statuses(store)
    assert not found and "is reached by a link" in unreadable[0]
    assert collect(store).cells.empty and "is reached by a link" in collect(store).notes[0]
    assert export(store, tmp_path / "out").refused and not list((tmp_path / "out").rglob("cell.json"))
    before = {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match="is a link, and links in a store are not followed"):
        run_cell(cell, store, "cpu")
    assert {path: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["report", "report/figures", "report/ablation/acdc"])
def test_a_report_is_not_written_where_a_link_leads(tmp_path: Path, place: str) -> None:
    (tmp_path / "precious").mkdir()
    link = tmp_path / "store" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(BadInput, match=f"{link} is a link"):
        assert Store(tmp_path / "store").report


GOOD = Ablation("phantom", "quick", Design("cctr", {"rsl": ("false", "true")}, {"a": ("false",), "b": ("true",)}))


def changed(**design: object) -> bytes:
    return json.dumps(asdict(GOOD) | {"design": asdict(GOOD.design) | design}).encode()


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(asdict(GOOD) | {"dataset": ".."}).encode(),
        json.dumps(asdict(GOOD) | {"dataset": "/etc"}).encode(),
        json.dumps({"dataset": "phantom"}).encode(),
        changed(factors={"../x": ["false", "true"]}),
        changed(method="a\nb"),
        changed(variants={"a": ["false"]}),
        changed(factors={f"f{n}": ["false", "true"] for n in range(10)}),
        b"[" * 100_000,
        b"null",
        *DAMAGE,
    ],
    ids=lambda content: str(content[:60]),
)
def test_one_bad_ablation_is_named_and_costs_no_other(tmp_path: Path, content: bytes | str) -> None:
    store, told = Store(tmp_path), list[str]()
    remember(GOOD, store)
    (good,) = (tmp_path / FOLDER).iterdir()
    bad = good.with_name("bad.json")
    shutil.copyfile(good, bad)
    if isinstance(content, bytes):
        bad.write_bytes(content)
    else:
        DAMAGE[content](bad)
    assert remembered(store, tell=told.append) == [GOOD]
    assert len(told) == 1 and str(bad) in told[0] and "\n" not in told[0]


def test_an_ablation_that_is_another_than_its_name_says_is_left_out(tmp_path: Path) -> None:
    store, told = Store(tmp_path), list[str]()
    remember(GOOD, store)
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_text(file.read_text().replace("phantom", "phantoM"))
    assert remembered(store, tell=told.append) == [] and str(file) in told[0] and "not as it was written" in told[0]
    remember(GOOD, store)
    assert remembered(store, tell=told.append) == [GOOD] and len(told) == 1


@pytest.mark.parametrize("names", [("..", "quick", "cctr"), ("phantom", "../../x", "cctr"), ("phantom", "quick", "../../../x")])
def test_effects_are_written_below_their_folder(tmp_path: Path, names: tuple[str, str, str]) -> None:
    dataset, protocol, method = names
    folder = Ablation("phantom" if dataset == ".." else dataset, protocol, Design(method, {}, {})).folder
    assert (tmp_path / folder).resolve().is_relative_to(tmp_path / "phantom")


@pytest.mark.parametrize("damage", KINDS)
@pytest.mark.parametrize("suffix", [".h5", ".sha256", ".contents", ".lock"])
def test_prepared_data_that_is_damaged_is_set_aside_and_made_again(
    made: tuple[Path, Cell], tmp_path: Path, suffix: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, cell = made
    prepared = prepare("acdc", root / "data", tmp_path)
    whole = prepared.file.read_bytes()
    (file,) = tmp_path.glob(f"*{suffix}")
    if file.stat().st_size > 10 or damage not in ("flipped", "cut"):
        DAMAGE[damage](file)
    _whole.cache_clear()  # as in another process
    again = prepare("acdc", root / "data", tmp_path)
    assert again.file.read_bytes() == whole and hash_of(again) == cell.data_hash
    assert prepare("acdc", root / "data", tmp_path).file == again.file
    told = capsys.readouterr().err
    if suffix != ".lock":
        assert ".damaged-" in told and list(tmp_path.glob("*.damaged-*"))


@pytest.mark.parametrize("damage", ["flipped", "sealed nonsense", "folder"])
def test_a_damaged_registration_is_set_aside_and_computed_again(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    volumes = [
        Volume(f"v{n}", f"c{n}", rng.random((1, 4, 16, 16), dtype=np.float32), np.ones((4, 16, 16), np.uint8), (8.0, 1.0, 1.0))
        for n in range(2)
    ]
    recipe, device = Recipe(kind="affine"), torch.device("cpu")
    Registrations.load(volumes, recipe, tmp_path, device)
    files = sorted(tmp_path.glob("*/*.sealed"))
    before = [file.read_bytes() for file in files]
    DAMAGE[damage](files[0])
    Registrations.load(volumes, recipe, tmp_path, device)
    assert unseal(files[0].read_bytes()) and [file.read_bytes() for file in files[1:]] == before[1:]
    assert f"{files[0].name}.damaged-" in capsys.readouterr().err


@pytest.mark.parametrize("damage", KINDS)
def test_a_damaged_checkpoint_is_told_and_the_cell_begins_again(
    made: tuple[Path, Cell], tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, cell = made
    shutil.copytree(root / "store", tmp_path / "store")
    folder = Store(tmp_path / "store").folder(cell)
    model = (folder.path / "model.safetensors").read_bytes()
    folder.clear(".done", "record.json")
    folder.checkpoint.write_bytes(seal(b"a state"))
    DAMAGE[damage](folder.checkpoint)
    assert run_cell(cell, Store(tmp_path / "store"), "cpu") == "done"
    assert (folder.path / "model.safetensors").read_bytes() == model
    assert "checkpoint.damaged-" in capsys.readouterr().err
    assert folder.done()
