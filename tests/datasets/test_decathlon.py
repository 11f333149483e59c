"""Decathlon tasks, on files written here in their layout, and on the real hippocampus where it is."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.decathlon import Decathlon


def write_task(folder: Path, cases: int = 10, channels: int = 1, affine: np.ndarray | None = None, shape=(12, 14, 6)) -> Path:
    """A task with one bright box an image."""
    affine = np.diag([1.0, 1.0, 5.0, 1.0]) if affine is None else affine
    pairs = []
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number in range(cases):
        rng = np.random.default_rng(number)
        label = np.zeros(shape, np.uint8)
        label[3:8, 4:9, 2:4] = 1
        label[5:7, 5:7, 2:3] = 2
        image = (label * 100 + rng.normal(0, 5, shape)).astype(np.float32) * 10.0 ** (number % 3)
        if channels > 1:
            image = np.stack([image * (c + 1) for c in range(channels)], -1)
        name = f"box_{number:03}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "imagesTr" / name)
        nibabel.save(nibabel.Nifti1Image(label, affine), folder / "labelsTr" / name)
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    about = {
        "labels": {"0": "background", "1": "outer", "2": "inner"},
        "modality": {str(c): "MRI" for c in range(channels)},
        "training": pairs,
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def test_cases_are_split_once_and_for_all(tmp_path: Path) -> None:
    dataset = Decathlon(write_task(tmp_path))
    split = dataset.split
    assert (len(split.train), len(split.val), len(split.tests["test"])) == (7, 1, 2)
    assert len({*split.train, *split.val, *split.tests["test"]}) == 10
    assert Decathlon(tmp_path).split == split and dataset.classes == ("background", "outer", "inner")


def test_slices_lie_along_the_thick_axis_and_intensities_in_one_range(tmp_path: Path) -> None:
    dataset = Decathlon(write_task(tmp_path, channels=2))
    (volume,) = dataset.read("box_002", labels=True)
    assert volume.image.shape == (2, 6, 14, 12) and volume.image.dtype == np.float32 and volume.spacing == (5.0, 1.0, 1.0)
    assert volume.label is not None and volume.label.shape == (6, 14, 12)
    assert set(np.argwhere(volume.label > 0)[:, 0]) == {2, 3} and volume.label[2, 5, 5] == 2
    assert volume.image.min() >= 0 and volume.image.max() <= 1
    assert volume.image[0][volume.label == 2].mean() > 0.8 > volume.image[0][volume.label == 0].mean() + 0.5
    assert dataset.read("box_002", labels=False)[0].label is None


def test_ct_is_windowed_and_air_outside_of_it_tells_nothing(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    about = json.loads((folder / "dataset.json").read_text()) | {"modality": {"0": "CT"}, "name": "Spleen"}
    (folder / "dataset.json").write_text(json.dumps(about))
    values = np.full((12, 14, 6), -1000, np.int16)
    values[3:8], values[8:] = 50, 3000
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 5.0, 1.0])), folder / "imagesTr" / "box_000.nii.gz")
    (volume,) = Decathlon(folder).read("box_000", labels=False)
    assert sorted(set(volume.image.flatten().tolist())) == pytest.approx([0, 0.5, 1])
    (folder / "dataset.json").write_text(json.dumps(about | {"name": "Lung"}))
    (volume,) = Decathlon(folder).read("box_000", labels=False)
    assert sorted(set(volume.image.flatten().tolist())) == pytest.approx([0, 0.75, 1])


def test_stored_orientation_does_not_matter(tmp_path: Path) -> None:
    plain = Decathlon(write_task(tmp_path / "plain"))
    turned = write_task(tmp_path / "turned")
    for file in turned.glob("*Tr/*.nii.gz"):
        stored = nibabel.load(file)
        flipped = stored.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
        nibabel.save(nibabel.Nifti1Image(np.asarray(flipped.dataobj), flipped.affine), file)
    for case in plain.split.train[:2]:
        (a,), (b,) = plain.read(case, True), Decathlon(turned).read(case, True)
        assert np.array_equal(a.image, b.image) and np.array_equal(a.label, b.label) and a.spacing == b.spacing


def replace_label(folder: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / "labelsTr" / "box_000.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda f: (f / "imagesTr/box_000.nii.gz").write_bytes(b"no gzip"), ["box_000.nii.gz", "damaged"]),
        (lambda f: (f / "imagesTr/box_000.nii.gz").unlink(), ["box_000.nii.gz", "cannot be found"]),
        (lambda f: replace_label(f, np.zeros((3, 3, 3), np.uint8)), ["labelsTr", "(3, 3, 3) voxels"]),
        (
            lambda f: replace_label(f, np.zeros((12, 14, 6), np.uint8), np.eye(4)),
            ["labelsTr", "spacing (1, 1, 1) and (1, 1, 5) mm"],
        ),
        (lambda f: replace_label(f, np.full((12, 14, 6), 7, np.uint8)), ["label holds 7", "expected 0, 1, 2;"]),
        (lambda f: replace_label(f, np.zeros((12, 14, 6, 2), np.uint8)), ["3 axes"]),
        (lambda f: (f / "dataset.json").write_text("{"), ["dataset.json", "JSON"]),
        (lambda f: (f / "dataset.json").write_text("{}"), ["dataset.json", "labels"]),
    ],
)
def test_bad_files_are_named(tmp_path: Path, spoil, parts: list[str]) -> None:
    write_task(tmp_path)
    spoil(tmp_path)
    with pytest.raises(BadInput) as caught:
        Decathlon(tmp_path).read("box_000", labels=True)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_folder_is_needed(tmp_path: Path) -> None:
    for path in (None, tmp_path / "nowhere", tmp_path):
        with pytest.raises(BadInput):
            Decathlon(path)


def test_the_real_hippocampus(hippocampus_folder: Path) -> None:
    dataset = Decathlon(hippocampus_folder)
    assert dataset.classes[1:] == ("Anterior", "Posterior") and len(dataset.split.train) == 98
    for case in dataset.split.train[:3]:
        (volume,) = dataset.read(case, labels=True)
        assert volume.label is not None and set(np.unique(volume.label)) == {0, 1, 2}
        assert volume.image.min() == 0 and volume.image.max() == 1 and 0.2 < volume.image.mean() < 0.7
