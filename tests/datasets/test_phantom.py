"""The phantom is the same everywhere, anatomically coherent, varied between cases, and refuses a folder."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import load
from datasets import phantom
from datasets.dataset import Volume
from datasets.phantom import Phantom

RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = 1, 2, 3
IN_PLANE = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[None]

# Rounded, so that a last bit that differs between machines does not matter: image mean and standard deviation, voxels by class.
PINNED = {
    "case001_ed": ((10, 94, 109), 0.3865, 0.1779, [92063, 2650, 3942, 3805]),
    "case044_es": ((10, 121, 106), 0.2642, 0.2237, [108406, 7893, 7285, 4676]),
}


@pytest.fixture(scope="module")
def dataset() -> Phantom:
    return Phantom()


@pytest.fixture(scope="module")
def frames(dataset: Phantom) -> list[tuple[Volume, ...]]:
    """Both frames of every case."""
    split = dataset.split
    return [dataset.read(case, labels=True) for case in split.train + split.val + split.tests["test"]]


@pytest.fixture(scope="module")
def volumes(frames: list[tuple[Volume, ...]]) -> list[Volume]:
    return [volume for case in frames for volume in case]


def millilitres(volume: Volume, structure: int) -> float:
    return float((volume.label == structure).sum() * np.prod(volume.spacing) / 1000)


def test_pinned_statistics(volumes):
    by_name = {v.name: v for v in volumes}
    for name, (shape, mean, deviation, counts) in PINNED.items():
        volume = by_name[name]
        assert volume.label.shape == shape
        assert round(float(volume.image.mean()), 4) == pytest.approx(mean, abs=2e-4)
        assert round(float(volume.image.std()), 4) == pytest.approx(deviation, abs=2e-4)
        assert np.abs(np.bincount(volume.label.ravel(), minlength=4) - counts).max() <= 2


def test_generated_again_it_is_bit_identical(dataset, frames):
    phantom.generate.cache_clear()
    for case in (dataset.split.train[0], dataset.split.tests["test"][-1]):
        first = next(f for f in frames if f[0].case == case)
        for before, after in zip(first, Phantom().read(case, labels=True), strict=True):
            assert before.image is not after.image
            assert before.image.tobytes() == after.image.tobytes() and before.label.tobytes() == after.label.tobytes()


def test_layout_and_ranges(dataset, volumes):
    assert dataset.classes == ("background", "right ventricle", "myocardium", "left ventricle")
    assert dataset.channels == 1 and dataset.spacing_known
    assert len({v.name for v in volumes}) == len(volumes)
    for v in volumes:
        assert v.image.dtype == np.float32 and v.label.dtype == np.uint8 and v.spacing_known
        assert v.image.shape == (1, *v.label.shape)
        assert v.image.min() == 0 and v.image.max() == 1
        assert set(np.unique(v.label)) == {0, RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE}
        assert 7 <= v.label.shape[0] <= 11 and all(90 <= n <= 130 for n in v.label.shape[1:])
        assert 8 <= v.spacing[0] <= 10 and 1.2 <= v.spacing[1] == v.spacing[2] <= 1.9


def test_cases_differ_in_picture_pose_and_view(frames):
    diastoles = [case[0] for case in frames]
    assert len({v.image.tobytes() for v in diastoles}) == len(diastoles)
    assert len({v.spacing for v in diastoles}) == len(diastoles)
    offsets = []
    for v in diastoles:
        centre = np.argwhere(v.label == LEFT_VENTRICLE).mean(0)[1:] - (np.array(v.label.shape[1:]) - 1) / 2
        offsets.append(centre * v.spacing[1])
    assert (np.std(offsets, axis=0) > 5).all()  # mm: patients are not centred


def test_split_is_disjoint_and_large_enough(dataset):
    split = dataset.split
    assert list(split.tests) == ["test"]
    assert len(split.train) >= 28 and len(split.val) >= 4 and len(split.tests["test"]) == 10
    everyone = split.train + split.val + split.tests["test"]
    assert len(set(everyone)) == len(everyone)


def test_systole_is_a_contracted_diastole(frames):
    for diastole, systole in frames:
        assert diastole.case == systole.case and diastole.spacing == systole.spacing
        assert (diastole.name, systole.name) == (f"{diastole.case}_ed", f"{diastole.case}_es")
        ejected = 1 - millilitres(systole, LEFT_VENTRICLE) / millilitres(diastole, LEFT_VENTRICLE)
        assert 0.35 < ejected < 0.8
        assert millilitres(systole, RIGHT_VENTRICLE) < millilitres(diastole, RIGHT_VENTRICLE)
        # Muscle does not compress: it keeps its volume but for the coarse sampling in z.
        assert 0.75 < millilitres(systole, MYOCARDIUM) / millilitres(diastole, MYOCARDIUM) < 1.35


def test_sizes_are_those_of_hearts(volumes):
    for structure, low, high in ((RIGHT_VENTRICLE, 8, 200), (MYOCARDIUM, 35, 160), (LEFT_VENTRICLE, 8, 180)):
        sizes = [millilitres(v, structure) for v in volumes]
        assert low < min(sizes) and max(sizes) < high


def test_myocardium_encloses_the_left_ventricle(volumes):
    for v in volumes:
        rim = binary_dilation(v.label == LEFT_VENTRICLE, IN_PLANE) & (v.label != LEFT_VENTRICLE)
        assert (v.label[rim] == MYOCARDIUM).all()


def test_structures_are_one_piece_and_end_in_order(volumes):
    for v in volumes:
        planes = {k: np.flatnonzero((v.label == k).any((1, 2))) for k in (RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE)}
        for k, found in planes.items():
            assert (np.diff(found) == 1).all()
            assert all(components(v.label[z] == k, np.ones((3, 3)))[1] == 1 for z in found)
        # Slice 0 is at the base; towards the apex the right ventricle ends first, and the muscle last.
        assert planes[RIGHT_VENTRICLE][0] == planes[MYOCARDIUM][0] == planes[LEFT_VENTRICLE][0]
        assert planes[RIGHT_VENTRICLE][-1] <= planes[LEFT_VENTRICLE][-1] <= planes[MYOCARDIUM][-1]
        areas = (v.label == RIGHT_VENTRICLE).sum((1, 2))
        assert areas[planes[MYOCARDIUM][-1]] < areas.max() / 3


def test_some_end_slices_are_empty(volumes):
    empty = np.mean([not plane.any() for v in volumes for plane in v.label])
    assert 0.05 < empty < 0.4


def test_blood_is_brighter_than_muscle(volumes):
    for v in volumes:
        blood, muscle = (np.median(v.image[0][v.label == k]) for k in (LEFT_VENTRICLE, MYOCARDIUM))
        assert blood > muscle + 0.08


def test_without_labels_no_mask_is_handed_out(dataset):
    masked, bare = dataset.read("case001", labels=True), dataset.read("case001", labels=False)
    assert [v.label for v in bare] == [None, None]
    for m, b in zip(masked, bare, strict=True):
        assert np.array_equal(m.image, b.image) and (m.name, m.case, m.spacing) == (b.name, b.case, b.spacing)


def test_content_hash_follows_the_volumes(dataset, monkeypatch):
    first = dataset.content_hash()
    assert Phantom().content_hash() == first and int(first, 16) >= 0
    monkeypatch.setattr(phantom, "SEED", phantom.SEED + 1)
    phantom.generate.cache_clear()
    assert Phantom().content_hash() != first
    phantom.generate.cache_clear()


def test_a_folder_is_refused():
    with pytest.raises(BadInput, match="leave --data out"):
        Phantom(Path("somewhere"))


def test_is_known_by_name():
    assert load("datasets", "phantom") is Phantom and Phantom.name == "phantom"
