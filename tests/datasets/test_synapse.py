"""Synapse in the TransUNet layout, on files written here."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.synapse import Synapse


def write_layout(folder: Path, depth: int = 12) -> Path:
    """Three training cases and one test case with all eight organs as boxes."""
    (folder / "train_npz").mkdir(parents=True)
    (folder / "test_vol_h5").mkdir()
    for number in (5, 31, 2, 7):
        rng = np.random.default_rng(number)
        label = np.zeros((depth, 24, 24), np.uint8)
        for organ in range(1, 9):
            label[2:-2, 3 * organ - 2 : 3 * organ, 4:20] = organ
        image = (label / 10 + rng.uniform(0, 0.1, label.shape)).astype(np.float32)
        if number == 2:
            with h5py.File(folder / "test_vol_h5" / "case0002.npy.h5", "w") as file:
                file["image"], file["label"] = image, label.astype(np.float32)
            continue
        for k in range(depth):
            np.savez(folder / "train_npz" / f"case{number:04}_slice{k:03}.npz", image=image[k], label=label[k])
    return folder


def test_slices_are_stacked_by_number_and_cases_stand_in_transunet_s_order(tmp_path: Path) -> None:
    dataset = Synapse(write_layout(tmp_path))
    assert dataset.split.train == ("case0031", "case0007", "case0005") and not dataset.split.val
    assert dataset.split.tests == {"test": ("case0002",)}
    for case in ("case0005", "case0002"):
        (volume,) = dataset.read(case, labels=True)
        assert volume.image.shape == (1, 12, 24, 24) and volume.label is not None
        assert np.array_equal(np.unique(volume.label), np.arange(9)) and not volume.label[:2].any() and volume.label[2].any()
    assert dataset.read("case0005", labels=False)[0].label is None
    assert len(dataset.classes) == 9 and not dataset.spacing_known


def spoil_slice(folder: Path, **arrays: np.ndarray) -> None:
    np.savez(folder / "train_npz" / "case0005_slice003.npz", **arrays)  # type: ignore[arg-type]


IMAGE, LABEL = np.full((24, 24), 0.5, np.float32), np.zeros((24, 24), np.uint8)


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda f: (f / "train_npz/case0005_slice003.npz").unlink(), ["case0005", "no slice 3"]),
        (lambda f: (f / "train_npz/case0005_slice003.npz").write_bytes(b"PK"), ["case0005_slice003.npz", "damaged"]),
        (lambda f: spoil_slice(f, image=IMAGE), ["label is missing"]),
        (lambda f: spoil_slice(f, image=np.array([{"a": 1}], object), label=LABEL), ["type object", "float"]),
        (lambda f: spoil_slice(f, image=IMAGE, label=np.full((24, 24), 9)), ["label holds 9", "0 to 8"]),
        (lambda f: spoil_slice(f, image=IMAGE * np.nan, label=LABEL), ["NaN"]),
        (lambda f: spoil_slice(f, image=IMAGE * 300, label=LABEL), ["[0, 1]", "HU"]),
        (lambda f: spoil_slice(f, image=IMAGE[:20], label=LABEL[:20]), ["one size"]),
        (lambda f: spoil_slice(f, image=IMAGE[None], label=LABEL[None]), ["expected 2 axes"]),
        (lambda f: (f / "test_vol_h5/case0002.npy.h5").rename(f / "test_vol_h5/case0005.npy.h5"), ["case0005", "in one"]),
        (lambda f: (f / "test_vol_h5/case0002.npy.h5").unlink(), ["0 test cases"]),
    ],
)
def test_bad_files_are_named(tmp_path: Path, spoil, parts: list[str]) -> None:
    write_layout(tmp_path)
    spoil(tmp_path)
    with pytest.raises(BadInput) as caught:
        dataset = Synapse(tmp_path)
        dataset.read("case0005", labels=True)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_header_that_claims_too_much_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    import zipfile

    write_layout(tmp_path)
    header = str({"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}).encode().ljust(118)
    with zipfile.ZipFile(tmp_path / "train_npz" / "case0005_slice003.npz", "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header)
    with pytest.raises(BadInput, match="voxels"):
        Synapse(tmp_path).read("case0005", labels=False)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    for path in (None, tmp_path):
        with pytest.raises(BadInput):
            Synapse(path)
