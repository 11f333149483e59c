"""Files in the shapes that people have them: writers for ``test_cases``. Every volume is a box in a box."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np

SHAPE, SPACING = (14, 12, 6), (1.5, 1.5, 8.0)
USES = ("train", "train", "train", "train", "val", "test")


def scan(number: int, values: tuple[int, ...] = (1, 2), shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Image (X, Y, Z) float32 and mask uint8: the i-th value fills a box i voxels inside the first."""
    rng = np.random.default_rng(number)
    mask = np.zeros(shape, np.uint8)
    for i, value in enumerate(values):
        first = [(1 + i + (number % 2) * (axis == 0)) * (shape[axis] > 1) for axis in range(3)]
        mask[tuple(slice(start, max(start + 1, size - 1 - i)) for start, size in zip(first, shape, strict=True))] = value
    return (100 + 50 * (mask > 0) + rng.normal(0, 10, shape)).astype(np.float32), mask


def affine(spacing: tuple[float, ...] = SPACING) -> np.ndarray:
    found = np.diag([*spacing, 1.0])
    found[:3, 3] = (-20, 5, 30)
    return found


def save(path: Path, array: np.ndarray, where: np.ndarray | None = None, **header: Any) -> None:
    """A NIfTI file; ``header`` overwrites fields, ``pixdim`` from its second number on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine() if where is None else where)
    for name, value in header.items():
        if name == "pixdim":
            image.header["pixdim"][1:4] = value
        else:
            image.header[name] = value
    nibabel.save(image, path)


Save = Callable[[Path, np.ndarray, int], None]


def plainly(path: Path, array: np.ndarray, number: int) -> None:
    save(path, array)


def pairs(
    root: Path,
    image: str = "imagesTr/c{:02}.nii.gz",
    label: str = "labelsTr/c{:02}.nii.gz",
    count: int = 6,
    values: tuple[int, ...] = (1, 2),
    shape: tuple[int, ...] = SHAPE,
    save_image: Save = plainly,
    save_label: Save = plainly,
) -> list[tuple[str, str]]:
    """Pairs of files; their names in the folder."""
    for number in range(count):
        array, mask = scan(number, values, shape)
        save_image(root / image.format(number), array, number)
        save_label(root / label.format(number), mask, number)
    return [(image.format(number), label.format(number)) for number in range(count)]


def described(root: Path, names: list[tuple[str, str]], **changes: Any) -> None:
    """A Decathlon's dataset.json."""
    about = {"labels": {"0": "background", "1": "a", "2": "b"}, "modality": {"0": "MRI"}, "test": []}
    about["training"] = [{"image": f"./{image}", "label": f"./{label}"} for image, label in names]
    (root / "dataset.json").write_text(json.dumps(about | changes))


def nnunet(root: Path, channels: int = 1, **changes: Any) -> None:
    """nnU-Net raw, version 2."""
    for number in range(6):
        array, mask = scan(number)
        for channel in range(channels):
            save(root / f"imagesTr/c{number:02}_{channel:04}.nii.gz", array * (channel + 1) * np.sign(0.5 - channel))
        save(root / f"labelsTr/c{number:02}.nii.gz", mask)
    names = {str(channel): f"T{channel + 1}" for channel in range(channels)}
    about = {"channel_names": names, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 6, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about | changes))


def table(
    root: Path, rows: list[tuple[str, str]], header: str = "case,image,label,split", use: Callable[[str], str] = str
) -> None:
    lines = [f"c{i:02},{image},{label},{use(USES[i])}" for i, (image, label) in enumerate(rows)]
    (root / "cases.csv").write_text("\n".join([header, *lines]) + "\n")


def unpacked(path: Path, to: Path) -> None:
    """Replace a .gz by its content under another name."""
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    to.write_bytes(content)


def acdc_download(root: Path, group: bool = True, test_masks: bool = True) -> None:
    codes = ("DCM", "HCM", "MINF", "NOR", "RV")
    for patient in (99, 38, 50, 28, 11, 101):
        home = root / ("testing" if patient > 100 else "training") / f"patient{patient:03}"
        for frame in (1, 12):
            array, mask = scan(patient * 10 + frame, (1, 2, 3))
            save(home / f"{home.name}_frame{frame:02}.nii.gz", array)
            if patient < 101 or test_masks:
                save(home / f"{home.name}_frame{frame:02}_gt.nii.gz", mask)
        told = f"Group: {codes[(patient - 1) // 20]}\n" if patient < 101 and group else ""
        (home / "Info.cfg").write_text(f"ED: 1\nES: 12\n{told}NbFrame: 30\n")


def acdc_h5(root: Path, first: int = 1, end: str = "\n", axis: bool = False, frames: tuple[int, int] = (1, 12)) -> None:
    lists: dict[str, list[str]] = {"train_slices": [], "val": [], "test": []}
    for patient, use in ((99, "train"), (38, "train"), (28, "val"), (11, "test")):
        for frame in frames:
            array, mask = (part.T for part in scan(patient * 10 + frame, (1, 2, 3)))
            array = (array - array.min()) / np.ptp(array)
            name = f"patient{patient:03}_frame{frame:02}"
            if use != "train":
                lists[use].append(name)
                h5(root / f"data/{name}.h5", array, mask)
            for k in range(len(mask)) if use == "train" else ():
                lists["train_slices"].append(f"{name}_slice_{k + first}")
                where = slice(k, k + 1) if axis else k
                h5(root / f"data/slices/{name}_slice_{k + first}.h5", array[where], mask[where])
    for use, names in lists.items():
        (root / f"{use}.list").write_text(end.join(names) + end)


def h5(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["image"], file["label"] = image, label


def synapse(root: Path, test: str = "case{:04}.npy.h5", order: tuple[int, ...] = tuple(range(1, 9))) -> None:
    """Three training and two test cases whose organs have sizes in the order of classes 2, 1, 6, 3, 4, 7, 8, 5; ``order`` renames them."""
    (root / "train_npz").mkdir()
    for number in (31, 7, 9, 1, 2):
        mask = np.zeros((6, 16, 40), np.uint8)
        for size, organ in enumerate((2, 1, 6, 3, 4, 7, 8, 5)):
            mask[1:5, 2 : 4 + size, 4 * size : 4 * size + 3] = order[organ - 1]
        image = np.random.default_rng(number).uniform(0, 1, mask.shape).astype(np.float32)
        if number < 3:
            h5(root / "test_vol_h5" / (test if number == 2 else "case{:04}.npy.h5").format(number), image, mask)
        for k in range(6) if number > 2 else ():
            np.savez(root / f"train_npz/case{number:04}_slice{k:03}.npz", image=image[k], label=mask[k])


def atria(root: Path, form: str = "{}/mri_norm2.h5") -> None:
    for number in range(5):
        array, mask = scan(number, (1,))
        h5(root / form.format(f"s{number}"), (array - array.mean()) / array.std(), mask)
    (root / "train.list").write_text("s0\ns1\ns2\n")
    (root / "test.list").write_text("s3\ns4\n")


def pictures(root: Path, form: str = ".png", mask_value: int = 1) -> None:
    """images and masks, 8 of them; rows run down."""
    from PIL import Image

    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        array, mask = scan(number, (mask_value,), (14, 12, 1))
        Image.fromarray(array[..., 0].clip(0, 255).astype(np.uint8).T).save(root / f"images/p{number}{form}")
        Image.fromarray(mask[..., 0].T).save(root / f"masks/p{number}.png")
