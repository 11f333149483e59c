"""Masks go back to where scans came from, in every orientation; new scans are found, named and read as training volumes are."""

import itertools
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.acdc.dataset import ACDC
from datasets.classes import LabelMap
from datasets.dataset import Volume
from datasets.formats import values_of
from datasets.left_atrium import LeftAtrium
from datasets.likeness import look_of, unlike, widened
from datasets.reading import Place, Reading, axes_of, class_values, upright, write_nifti
from datasets.scans import find_scans, read_scan
from datasets.volumes import Source, place_of
from tests.datasets.layouts import acdc_slices, write_h5
from tests.datasets.layouts import write_nifti as write_upright

PLAIN = Reading(windows=(None,), values=(0, 1))


def every_orientation() -> list[np.ndarray]:
    """An affine for each way to store three axes."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.zeros((4, 4))
            affine[order, range(3)] = np.array(signs) * (1.25, 1.5, 7)
            affine[:, 3] = 10, -20, 30, 1
            found.append(affine)
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_was_read_is_written_back_where_it_lay(axis: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for affine in every_orientation():
        stored = rng.integers(0, 200, (2, 3, 4)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "a.nii.gz")
        values, grid = values_of(tmp_path / "a.nii.gz")
        write_nifti(tmp_path / "b.nii.gz", values[0].transpose(axes_of(axis)), axis, place_of(grid))
        again = nibabel.load(tmp_path / "b.nii.gz")
        assert np.array_equal(np.asarray(again.dataobj), stored)
        assert np.array_equal(again.affine, nibabel.load(tmp_path / "a.nii.gz").affine)


def test_a_unit_that_is_not_mm_goes_back_as_it_came(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.diag([0.001, 0.001, 0.009, 1.0]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    volume, place = read_scan("a", Source((tmp_path / "a.nii",)), PLAIN, (1, 1, 1))
    assert volume.spacing == pytest.approx((9, 1, 1)) and place.voxel_ml(volume.spacing) == pytest.approx(0.009)
    write_nifti(tmp_path / "b.nii", np.zeros(volume.image.shape[1:], np.uint8), 2, place)
    again = nibabel.load(tmp_path / "b.nii")
    assert np.array_equal(again.affine, nibabel.load(tmp_path / "a.nii").affine) and again.header.get_xyzt_units()[0] == "meter"


def test_millilitres_know_of_axes_that_are_not_at_right_angles() -> None:
    place = Place(affine=((1.0, 0.5, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 2.0, 0.0), (0.0, 0.0, 0.0, 1.0)))
    assert place.voxel_ml((2.0, float(np.hypot(0.5, 1)), 1.0)) == pytest.approx(0.002)
    assert upright((3.0, 2.0, 1.0)).voxel_ml((3.0, 2.0, 1.0)) == pytest.approx(0.006)


def test_values_of_classes_are_the_user_s() -> None:
    assert LabelMap(("background", "b", "a"), {0: 0, 2: 2, 5: 1, 9: 1}).of_classes() == (0, 5, 2)
    assert LabelMap(("background", "a")).of_classes() == (0, 1)
    mask = np.array([[0, 1, 2]], np.uint8)
    for values, kind in (((0, 5, 255), np.uint8), ((0, 5, 256), np.int16), ((0, -1, 2), np.int16), ((0, 1, 70000), np.int32)):
        found = class_values(mask, values)
        assert found.tolist() == [list(values)] and found.dtype == kind


def test_scans_are_found_by_file_and_folder_and_told_apart(tmp_path: Path) -> None:
    for name in ("one/a.nii.gz", "one/b.nii", "two/a.nii.gz"):
        write_upright(tmp_path / name, np.zeros((2, 2, 2), np.int16), (1, 1, 1))
    found = find_scans([tmp_path / "one", tmp_path / "two" / "a.nii.gz", tmp_path / "one"], PLAIN)
    assert {name: source.images[0].parent.name for name, source in found.items()} == {"a": "one", "b": "one", "two_a": "two"}
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for wrong, told in (
        (tmp_path / "empty", "holds no image"),
        (tmp_path / "x.nii", "cannot be found"),
        (tmp_path / "notes.txt", "is not an image"),
    ):
        with pytest.raises(BadInput, match=told):
            find_scans([wrong], PLAIN)


def test_files_of_channels_are_one_scan(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        write_upright(tmp_path / f"{name}.nii.gz", np.arange(8, dtype=np.int16).reshape(2, 2, 2), (1, 1, 1))
    both = Reading(windows=((0.0, 7.0), None), values=(0, 1))
    found = find_scans([tmp_path], both)
    assert list(found) == ["a", "b"] and len(found["a"].images) == 2
    volume, _ = read_scan("a", found["a"], both, (1, 1, 1))
    assert volume.image.shape == (2, 2, 2, 2)
    with pytest.raises(BadInput, match="2 channels in 2 files; expected 1 as in the other cases"):
        read_scan("a", find_scans([tmp_path], PLAIN)["a"], PLAIN, (1, 1, 1))


def test_h5_scans_are_read_as_their_layout_s_volumes(tmp_path: Path) -> None:
    truth = acdc_slices(tmp_path / "acdc")
    acdc = ACDC(tmp_path / "acdc")
    (name, source), *_ = find_scans([tmp_path / "acdc" / "data" / "patient011_frame01.h5"], acdc.reading).items()
    volume, place = read_scan(name, source, acdc.reading, (10.0, 1.0, 1.0))
    (mine, _) = acdc.read("patient011", labels=False)
    assert name == "patient011_frame01" and np.array_equal(volume.image, mine.image) and not volume.spacing_known
    assert place == upright((10.0, 1.0, 1.0)) and volume.image.shape == truth[name].image.shape
    rng = np.random.default_rng(0)
    (tmp_path / "la").mkdir()
    for case in ("a", "b"):
        write_h5(tmp_path / "la" / f"{case}.h5", rng.normal(size=(5, 4, 3)), rng.integers(0, 2, (5, 4, 3)))
        (tmp_path / "la" / f"{'train' if case == 'a' else 'test'}.list").write_text(f"{case}\n")
    la = LeftAtrium(tmp_path / "la")
    found = find_scans([tmp_path / "la"], la.reading)
    assert list(found) == ["a", "b"]
    assert np.array_equal(read_scan("a", found["a"], la.reading, (1, 1, 1))[0].image, la.read("a", labels=False)[0].image)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["image"] = np.zeros((4, 4))
    with pytest.raises(BadInput, match=r"flat.h5: the image has shape \(4, 4\); expected 3 axes"):
        read_scan("flat", Source((tmp_path / "flat.h5",)), la.reading, (1, 1, 1))


def test_a_scan_is_like_those_of_training_or_told_with_numbers() -> None:
    def look(
        shape: tuple[int, int, int], spacing: tuple[float, float, float], level: float, known: bool = True
    ) -> dict[str, float]:
        image = np.full((1, *shape), level, np.float32)
        image[..., ::2] += 0.2
        return look_of(Volume("a", "a", image, None, spacing, known), upright(spacing))

    seen = widened(widened({}, look((8, 100, 100), (9, 1.5, 1.5), 0.3)), look((10, 120, 100), (8, 1.4, 1.4), 0.35))
    assert unlike(look((9, 110, 100), (8.5, 1.45, 1.45), 0.32), seen) == []
    assert unlike(look((9, 110, 100), (8.5, 1.45, 1.45), 0.6), seen) == ["its brightness is 0.7; in training 0.4 to 0.45"]
    (told, *_) = unlike(look((9, 110, 100), (8.5, 3, 3), 0.32), seen)
    assert told == "its spacing of rows is 3 mm; in training 1.4 to 1.5 mm"
    assert any("width by height" in told for told in unlike(look((9, 70, 110), (8.5, 1.45, 1.45), 0.32), seen))
    assert any("is not stored" in told for told in unlike(look((9, 110, 100), (8.5, 1.45, 1.45), 0.32, known=False), seen))
