"""ACDC in the SSL4MIS layout: files written here in that layout, each rule of bad input, the real subset where present."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.acdc.dataset import ACDC

TRAIN = {"patient099": 12, "patient020": 11, "patient050": 6}
VAL = {"patient010": 5}
TEST = {"patient007": 4, "patient101": 3}
FRAMES = ("frame01", "frame02")


def pixels(volume: str, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The volume that the layout stores: float64 in [0, 1] and classes 0 to 3; size and content differ between volumes."""
    rng = np.random.default_rng(sum(map(ord, volume)) + depth)
    shape = (depth, 8 + depth, 6 + int(volume[-1]))
    return rng.random(shape), rng.integers(0, 4, shape).astype(np.uint8)


def write(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small dataset in the exact layout: slices shuffled within a patient, string order of K other than number order."""
    (tmp_path / "data" / "slices").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for case, depth in TRAIN.items():
        names = []
        for frame in FRAMES:
            volume = f"{case}_{frame}"
            for number, (image, label) in enumerate(zip(*pixels(volume, depth), strict=True), start=1):
                names.append(f"{volume}_slice_{number}")
                write(tmp_path / "data" / "slices" / f"{names[-1]}.h5", image, label)
        lines += list(rng.permutation(names))
    (tmp_path / "train_slices.list").write_text("\n".join(lines) + "\n")
    for use, cases in (("val", VAL), ("test", TEST)):
        volumes = {f"{case}_{frame}": depth for case, depth in cases.items() for frame in FRAMES}
        for volume, depth in volumes.items():
            write(tmp_path / "data" / f"{volume}.h5", *pixels(volume, depth))
        (tmp_path / f"{use}.list").write_text("\n".join(volumes))
    return tmp_path


def test_split_is_that_of_the_lists(folder: Path) -> None:
    split = ACDC(folder).split
    assert split.train == ("patient099", "patient020", "patient050")
    assert split.val == ("patient010",)
    assert split.tests == {"test": ("patient007", "patient101")}


@pytest.mark.parametrize("case, depth", (TRAIN | VAL | TEST).items())
def test_volumes_are_what_was_written(folder: Path, case: str, depth: int) -> None:
    volumes = ACDC(folder).read(case, labels=True)
    assert [volume.name for volume in volumes] == [f"{case}_frame01", f"{case}_frame02"]
    for volume in volumes:
        image, label = pixels(volume.name, depth)
        assert volume.label is not None
        assert (volume.case, volume.spacing, volume.spacing_known) == (case, (10.0, 1.0, 1.0), False)
        assert (volume.image.dtype, volume.label.dtype) == (np.float32, np.uint8)
        np.testing.assert_array_equal(volume.image, image[None].astype(np.float32))
        np.testing.assert_array_equal(volume.label, label)


@pytest.mark.parametrize("case", ["patient099", "patient007"])
def test_without_labels_the_masks_play_no_part(folder: Path, case: str) -> None:
    before = ACDC(folder).read(case, labels=False)
    for path in folder.glob(f"data/**/{case}*.h5"):
        with h5py.File(path, "r+") as file:
            file["label"][...] = 99
    after = ACDC(folder).read(case, labels=False)
    assert [volume.label for volume in before + after] == [None] * 4
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    with pytest.raises(BadInput, match="holds 99"):
        ACDC(folder).read(case, labels=True)


def test_groups_follow_the_patient_number(folder: Path) -> None:
    assert ACDC(folder).train_groups == {
        "patient099": "right ventricle",
        "patient020": "dilated",
        "patient050": "infarction",
    }


def test_the_hash_is_that_of_the_content(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    dataset = ACDC(folder)
    first = dataset.content_hash()
    copy = tmp_path_factory.mktemp("elsewhere") / "ACDC"
    shutil.copytree(folder, copy)
    (copy / "SOURCE.txt").write_text("not read, so not hashed")
    assert ACDC(copy).content_hash() == first
    write(copy / "data" / "slices" / "patient020_frame02_slice_11.h5", *(a[0] for a in pixels("patient020_frame01", 11)))
    changed = ACDC(copy).content_hash()
    lines = (copy / "train_slices.list").read_text().splitlines()
    (copy / "train_slices.list").write_text("\n".join(reversed(lines)))  # another canonical order, so another draw 0
    assert len({first, changed, ACDC(copy).content_hash()}) == 3
    shutil.rmtree(folder / "data")
    assert dataset.content_hash() == first


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(change((folder / name).read_text()))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replace(name: str, image: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: write(folder / name, image, np.zeros(image.shape, np.uint8))


SLICE = "patient050_frame01_slice_4"
BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not the layout": (remove("val.list"), "has no val.list; expected ACDC in the SSL4MIS layout"),
    "no slices": (lambda folder: shutil.rmtree(folder / "data" / "slices"), "has no data/slices"),
    "no folder": (shutil.rmtree, "is not a folder"),
    "slice not listed": (edit("train_slices.list", lambda text: text.replace(f"{SLICE}\n", "")), f"no slice 4.*{SLICE}"),
    "slice file missing": (remove(f"data/slices/{SLICE}.h5"), f"{SLICE}.h5 cannot be found"),
    "volume file missing": (remove("data/patient010_frame02.h5"), "patient010_frame02.h5 cannot be found"),
    "train and test": (
        edit("test.list", lambda text: text + "\npatient010_frame01"),
        r"patient010 is in val\.list and in test\.list",
    ),
    "duplicate line": (
        edit("val.list", lambda text: text + "\npatient010_frame01"),
        "patient010_frame01 is on line 1 and on line 3",
    ),
    "blank line": (edit("test.list", lambda text: "\n" + text), "test.list, line 1 is blank"),
    "empty list": (edit("val.list", lambda text: ""), "val.list is empty"),
    "list of slices for volumes": (edit("val.list", lambda text: f"{text}_slice_1"), "found 'patient010_frame02_slice_1'"),
    "list of volumes for slices": (edit("train_slices.list", lambda text: "patient099_frame01"), "found 'patient099_frame01'"),
    "slice zero": (
        edit("train_slices.list", lambda text: text.replace("slice_1\n", "slice_0\n")),
        "no slice 1; expected all from 0",
    ),
    "path in a name": (edit("val.list", lambda text: "../patient010_frame01"), "found '../patient010_frame01'"),
    "letter after a name": (edit("val.list", lambda text: "patient010_frame01x"), "found 'patient010_frame01x'"),
    "volume as slice": (replace(f"data/slices/{SLICE}.h5", np.ones((2, 3, 4))), r"shape \(2, 3, 4\); expected 2 axes"),
    "slice as volume": (replace("data/patient010_frame01.h5", np.ones((3, 4))), r"shape \(3, 4\); expected 3 axes"),
    "slice of another size": (
        replace(f"data/slices/{SLICE}.h5", np.ones((3, 4))),
        "patient050_frame01 differ in height or width",
    ),
    "not normalised": (replace("data/patient010_frame01.h5", np.full((2, 3, 4), 7.0)), "run from 7 to 7; expected"),
    "corrupt file": (
        lambda folder: (folder / "data/patient101_frame02.h5").write_text("?"),
        "patient101_frame02.h5 is not an h5",
    ),
}


@pytest.mark.parametrize("spoil, reason", BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_bad_folders_are_refused_with_the_reason(folder: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(folder)
    with pytest.raises(BadInput, match=reason) as caught:
        dataset = ACDC(folder)
        split = dataset.split
        for case in (*split.train, *split.val, *split.tests["test"]):
            dataset.read(case, labels=True)
    assert str(folder) in str(caught.value)


def test_an_unknown_case_is_a_key_error(folder: Path) -> None:
    with pytest.raises(KeyError, match="patient001"):
        ACDC(folder).read("patient001", labels=True)


def test_the_data_must_be_named() -> None:
    with pytest.raises(BadInput, match=r"needs --data FOLDER; download"):
        ACDC()


def test_real_split(acdc_folder: Path) -> None:
    split = ACDC(acdc_folder).split
    assert (len(split.train), len(split.val), len(split.tests["test"])) == (70, 10, 10)
    assert " ".join(case.removeprefix("patient") for case in split.train[:7]) == "099 038 050 100 058 021 049"


def test_real_first_case_has_32_slices(acdc_folder: Path) -> None:
    volumes = ACDC(acdc_folder).read("patient099", labels=True)
    assert sum(volume.image.shape[1] for volume in volumes) == 32


def test_real_groups_have_their_ejection_fractions(acdc_folder: Path) -> None:
    """Bernard et al.: below 40 % after infarction and in dilated hearts, above 50 % in normal ones; hand-drawn, so +5 %."""
    dataset = ACDC(acdc_folder)
    bounds = {"dilated": (0, 45), "infarction": (0, 45), "normal": (50, 100)}
    for case in dataset.split.train:
        if (group := dataset.train_groups[case]) in bounds:
            diastole, systole = (np.count_nonzero(volume.label == 3) for volume in dataset.read(case, labels=True))
            low, high = bounds[group]
            assert low < 100 * (1 - systole / diastole) < high, case


def test_real_hash_is_quick(acdc_folder: Path) -> None:
    dataset = ACDC(acdc_folder)
    dataset.content_hash()
    start = time.perf_counter()
    assert dataset.content_hash() == ACDC(acdc_folder).content_hash()
    assert time.perf_counter() - start < 5  # about 0.2 s on a quiet machine
