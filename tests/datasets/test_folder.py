"""A user's own folder of NIfTI files, with a table and without."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmark.cell.experiment import training_volumes
from benchmark.ground.errors import BadInput
from datasets.folder import Folder
from datasets.preparing import prepare

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])
HEADER = "case,image,label,split,frame"


def save(path: Path, seed: int, label: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((16, 14, 5), np.uint8)
    mask[4:10, 4:9, 1:4] = 1
    mask[6:8, 5:7, 2] = 2
    image = (mask * 100.0 + np.random.default_rng(seed).normal(0, 20, mask.shape)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(mask if label else image, AFFINE), path)


def write_table(folder: Path, rows: list[str]) -> Path:
    for name in "abcdef":
        for frame in "12":
            save(folder / f"images/{name}{frame}.nii.gz", ord(name), label=False)
            save(folder / f"labels/{name}{frame}.nii.gz", ord(name), label=True)
    (folder / "cases.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def row(name: str, use: str, labelled: bool = True, frame: str = "1") -> str:
    return f"{name},images/{name}{frame}.nii.gz,{f'labels/{name}{frame}.nii.gz' if labelled else ''},{use},{frame}"


ROWS = [
    row("d", "train"),
    row("d", "train", frame="2"),
    row("a", "train"),
    row("b", "train", False),
    row("c", "val"),
    row("e", "test"),
]


def test_a_table_gives_splits_frames_and_unlabelled_cases(tmp_path: Path) -> None:
    dataset = Folder(write_table(tmp_path, ROWS))
    split = dataset.split
    assert (split.train, split.val, split.tests, split.unlabelled) == (("d", "a"), ("c",), {"test": ("e",)}, ("b",))
    assert dataset.classes == ("background", "class 1", "class 2") and dataset.channels == 1
    volumes = dataset.read("d", labels=True)
    assert [v.name for v in volumes] == ["d_1", "d_2"] and volumes[0].image.shape == (1, 5, 14, 16)
    assert volumes[0].spacing == pytest.approx((8.0, 1.5, 1.5)) and volumes[0].label is not None
    training = training_volumes(prepare("folder", tmp_path, tmp_path / "cache"), ("d",))
    assert [(v.name, v.label is not None) for v in training] == [("d_1", True), ("d_2", True), ("a_1", False), ("b_1", False)]


def test_class_names_may_be_given(tmp_path: Path) -> None:
    write_table(tmp_path, ROWS)
    (tmp_path / "classes.txt").write_text("background\nliver\ntumour\n")
    assert Folder(tmp_path).classes == ("background", "liver", "tumour")


def test_without_a_table_files_are_paired_by_name(tmp_path: Path) -> None:
    for number in range(8):
        save(tmp_path / f"imagesTr/x{number}.nii.gz", number, label=False)
        if number != 3:
            save(tmp_path / f"labelsTr/x{number}.nii.gz", number, label=True)
    dataset = Folder(tmp_path)
    split = dataset.split
    assert split.unlabelled == ("x3",) and len(split.train) == 5 and len(split.val) == len(split.tests["test"]) == 1
    assert dataset.read("x3", labels=False)[0].label is None
    before = dataset.content_hash()
    save(tmp_path / "imagesTr/x3.nii.gz", 99, label=False)
    assert Folder(tmp_path).content_hash() != before


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([*ROWS, row("d", "test", frame="2")], ["line 8", "d is in train and in test"]),
        ([*ROWS, row("a", "train")], ["line 8", "a_1 comes twice"]),
        ([*ROWS, row("f", "test", labelled=False)], ["f is in test and has no label"]),
        ([*ROWS, "f,images/f9.nii.gz,,train,1"], ["f9.nii.gz", "cannot be found"]),
        ([*ROWS, "f,../outside.nii.gz,,train,1"], ["outside of"]),
        ([*ROWS, "f,images/f1.nii.gz,,learning,1"], ["line 8", "train, val or test"]),
        ([row("a", "test")], ["0 labelled training and 1 test cases"]),
        ([], ["no rows"]),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, rows: list[str], parts: list[str]) -> None:
    write_table(tmp_path, rows)
    with pytest.raises(BadInput) as caught:
        Folder(tmp_path)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_other_bad_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns" / "cases.csv").write_text("case,image\n")
    for path, part in ((None, "--data"), (tmp_path / "empty", "neither"), (tmp_path / "columns", "no column label")):
        with pytest.raises(BadInput, match=part):
            Folder(path)
