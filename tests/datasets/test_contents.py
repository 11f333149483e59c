"""What a dataset holds is computed from what is read: no file is believed, edited ones are refused or are other data."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from benchmark.ground.rules import get_protocol
from benchmark.study.grid import expand, parse_methods
from datasets.checks import uses
from datasets.contents import array_hash, hash_of, read_through
from datasets.dataset import Dataset, Split, Volume
from datasets.manifest import Manifest
from datasets.packing import write
from datasets.prepared import Prepared
from datasets.preparing import open_dataset, prepare


def quiet(done: int, total: int) -> None:
    pass


class Small(Dataset):
    """Five cases of noise, one of them unlabelled. Called folder, for a file is opened under the name of a dataset that exists."""

    name, classes, channels, spacing_known = "folder", ("background", "heart"), 1, True
    split = Split(("a", "b"), ("v",), {"test": ("t",)}, ("u",))
    train_groups: ClassVar = {"a": "ill", "b": "well"}  # type: ignore[misc]

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        image = np.round(np.random.default_rng(ord(case)).random((1, 4, 16, 16), np.float32) * 255) / np.float32(255)
        label = (image[0] > 0.5).astype(np.uint8) if labels and case != "u" else None
        return (Volume(f"{case}_1", case, image, label, (8.0, 1.0, 1.5)),)

    def content_hash(self) -> str:
        return "1"


@pytest.fixture(params=[None, 8], ids=["lossless", "8 bits"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write(Small(), tmp_path / "data.h5", request.param, quiet)
    return tmp_path / "data.h5"


def test_one_hash_from_raw_files_the_cache_and_a_lossless_pack(packed: Path, tmp_path: Path) -> None:
    """The intensities have eight bits, so that a pack of eight bits loses nothing either."""
    raw = hash_of(Small())
    assert hash_of(open_dataset("folder", packed)) == hash_of(Prepared(packed)) == raw
    assert write(open_dataset("folder", packed), tmp_path / "again.h5", 16, quiet) == write(
        Small(), tmp_path / "16.h5", 16, quiet
    )
    assert read_through(Prepared(packed)) == raw


def test_the_real_cache_has_the_hash_of_the_raw_files(tmp_path: Path) -> None:
    from tests.datasets.layouts import folder_pairs

    folder_pairs(tmp_path / "data")
    source = open_dataset("folder", tmp_path / "data")
    computed = read_through(source)
    prepared = prepare("folder", tmp_path / "data", tmp_path / "cache")
    assert hash_of(prepared) == hash_of(source) == computed and computed in prepared.file.name
    (cell,) = expand(source, parse_methods("supervised"), [1], [(0, 0)], get_protocol("smoke"), "")
    (same,) = expand(prepared, parse_methods("supervised"), [1], [(0, 0)], get_protocol("smoke"), "")
    assert cell.id == same.id and cell.data_hash == computed


CHANGES: dict[str, Callable[[Volume], Volume]] = {
    "image": lambda v: replace(v, image=np.where(np.arange(16) == 3, np.float32(0), v.image)),
    "label": lambda v: replace(v, label=None if v.label is None else 1 - v.label),
    "spacing": lambda v: replace(v, spacing=(8.0, 1.0, 1.6)),
    "unknown spacing": lambda v: replace(v, spacing_known=False),
    "name": lambda v: replace(v, name=f"{v.case}_2"),
    "shape": lambda v: replace(v, image=v.image.reshape(1, 4, 8, 32), label=v.label.reshape(4, 8, 32)),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_part_of_a_volume_is_in_the_hash(change: Callable[[Volume], Volume]) -> None:
    class Changed(Small):
        def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
            volumes = super().read(case, labels)
            return tuple(map(change, volumes)) if case == "a" else volumes

    assert hash_of(Changed()) != hash_of(Small())


@pytest.mark.parametrize(
    "about",
    [
        {"split": Split(("b", "a"), ("v",), {"test": ("t",)}, ("u",))},
        {"split": Split(("a", "b"), (), {"test": ("t",), "more": ("v",)}, ("u",))},
        {"classes": ("background", "liver")},
        {"train_groups": {"a": "ill", "b": "ill"}},
        {"spacing_known": False},
        {"name": "other"},
    ],
)
def test_what_is_said_of_the_whole_is_in_the_hash(about: dict[str, Any]) -> None:
    assert hash_of(type("Changed", (Small,), about)()) != hash_of(Small())


def edit(file: Path, arrays: dict[str, Callable[[np.ndarray], np.ndarray]], about: Callable[[dict[str, Any]], object]) -> None:
    """Change arrays of a packed file, and what its manifest says."""
    with h5py.File(file, "r+") as out:
        for name, change in arrays.items():
            new = change(out[name][()])
            del out[name]
            out[name] = new
        manifest = json.loads(out["manifest"][()].tobytes())
        about(manifest)
        del out["manifest"]
        out["manifest"] = np.frombuffer(json.dumps(manifest).encode(), np.uint8)


def seal_again(file: Path) -> None:
    """What a forger does who has this code: every hash in the file is made to fit what it holds now."""
    with h5py.File(file, "r") as content:
        manifest = Manifest.model_validate_json(content["manifest"][()].tobytes())
        for number, entry in enumerate(manifest.volumes):
            stored = content[f"image {number}"][()]
            entry.image = array_hash(stored / np.float32(255) if manifest.bits else stored)
            entry.label = array_hash(content[f"label {number}"][()]) if f"label {number}" in content else None
    edit(file, {}, lambda about: about.update(volumes=[entry.model_dump() for entry in manifest.volumes]))
    with pytest.raises(BadInput) as caught:
        Prepared(file)
    claimed = str(caught.value).split("contents hash to ")[1].split(",")[0]
    edit(file, {}, lambda about: about.update(hash=claimed))


def nothing(about: dict[str, Any]) -> None:
    pass


def set_spacing(*spacing: float) -> Callable[[dict[str, Any]], object]:
    return lambda about: about["volumes"][0].update(spacing=spacing)


Edit = tuple[dict[str, Any], Callable[[dict[str, Any]], object]]
EDITS: dict[str, Edit] = {
    "all masks replaced": ({f"label {n}": np.ones_like for n in (0, 1)}, nothing),
    "an image edited": ({"image 0": lambda image: image[..., ::-1].copy()}, nothing),
    "spacing changed": ({}, set_spacing(8.0, 1.0, 1.25)),
    "split changed": ({}, lambda about: about["split"].update(train=["b", "a"])),
    "classes changed": ({}, lambda about: about.update(classes=["background", "liver"])),
    "groups changed": ({}, lambda about: about.update(groups={"a": "well", "b": "ill"})),
}


@pytest.mark.parametrize(("arrays", "about"), EDITS.values(), ids=EDITS)
def test_an_edited_file_is_refused_and_sealed_again_it_is_other_data(packed: Path, arrays, about) -> None:
    honest = hash_of(open_dataset("folder", packed))
    edit(packed, arrays, about)
    with pytest.raises(BadInput, match=r"data\.h5 is not what it says it is: .*edited after packing; pack the data again"):
        open_dataset("folder", packed)
    seal_again(packed)
    assert hash_of(open_dataset("folder", packed)) != honest


def test_a_cell_refuses_what_is_not_the_data_that_it_was_planned_for(packed: Path, tmp_path: Path) -> None:
    """A worker opens the file without reading it through: what it reads is compared, and so is the hash that its cell names."""
    honest = hash_of(open_dataset("folder", packed))
    edit(packed, {"label 0": np.ones_like}, nothing)
    dataset = prepare("folder", packed, tmp_path / "cache", data_hash=honest)
    assert dataset.read("a", labels=False) and dataset.read("b", labels=True)
    with pytest.raises(BadInput, match=r"data\.h5 .* the label of a_1 hashes to"):
        dataset.read("a", labels=True)
    seal_again(packed)
    with pytest.raises(BadInput, match=r"data\.h5 holds other data than was asked for"):
        prepare("folder", packed, tmp_path / "cache", data_hash=honest)


RULES: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], object], str]] = {
    "spacing NaN": ({}, set_spacing(float("nan"), 1, 1), "a_1 has spacing|finite"),
    "spacing out of range": ({}, set_spacing(1e300, 0, -5), "a_1 has spacing"),
    "intensities": (
        {"image 0": lambda image: np.full(image.shape, -1e30, np.float32)},
        nothing,
        "a_1 has intensities from -1e",
    ),
    "image and mask of two shapes": (
        {"image 0": lambda image: image[:, :2, :3, :4], "label 0": lambda label: np.zeros((5, 24, 24), np.uint8)},
        nothing,
        r"a_1 has an image of \(2, 3, 4\) and a label of \(5, 24, 24\)",
    ),
    "1-D image": ({"image 0": lambda image: image.ravel()}, nothing, r"a_1 has an image of shape \(1024,\)"),
    "channels": ({}, lambda about: about.update(channels=3), "a_1 has an image of shape .*; expected 3 channels"),
    "label values": ({"label 0": lambda label: label + 7}, nothing, "the label holds [78]"),
}


@pytest.mark.parametrize(("arrays", "about", "said"), RULES.values(), ids=RULES)
def test_a_file_that_fits_its_hashes_is_held_to_the_rules(arrays, about, said: str, tmp_path: Path) -> None:
    write(Small(), tmp_path / "data.h5", None, quiet)
    edit(tmp_path / "data.h5", arrays, about)
    seal_again(tmp_path / "data.h5")
    with pytest.raises(BadInput, match=rf"data\.h5.*({said})"):
        open_dataset("folder", tmp_path / "data.h5")


def test_a_test_case_copied_over_a_training_case_is_found(packed: Path) -> None:
    numbers = {case: number for number, case in enumerate(uses(Prepared(packed)))}
    with h5py.File(packed, "r+") as file:
        for part in ("image", "label"):
            file[f"{part} 0"][...] = file[f"{part} {numbers['t']}"][()]
    seal_again(packed)
    with pytest.raises(BadInput, match=r"data\.h5: t_1 \(test\) and a_1 \(train\) hold the same image"):
        open_dataset("folder", packed)


def test_a_file_of_an_earlier_version_is_read_through_for_its_hash(packed: Path, tmp_path: Path, capsys) -> None:
    from rich.console import Console

    from benchmark.records.store import Store
    from benchmark.study.preparation import prepare_shown

    def earlier(about: dict[str, Any]) -> None:
        about.update(format=1, hash="of raw files")
        about["volumes"] = [{k: v for k, v in entry.items() if k not in ("image", "label")} for entry in about["volumes"]]

    edit(packed, {}, earlier)
    shown = prepare_shown("folder", packed, Store(tmp_path / "store"), Console(force_terminal=False))
    assert hash_of(shown) == hash_of(Small())
    assert capsys.readouterr().out.count("earlier version") == 1
    edit(packed, {"label 0": np.ones_like}, nothing)
    assert hash_of(open_dataset("folder", packed)) != hash_of(shown)
