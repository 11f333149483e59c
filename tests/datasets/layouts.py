"""Phantom cases written to disk in the exact layouts that users have. Each writer returns what a reader must find, by volume."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np

from datasets.dataset import Volume
from datasets.phantom import generate

Truth = dict[str, Volume]
CASES = [f"case{number:03}" for number in range(1, 7)]
USES = ("train", "train", "train", "val", "test", "test")


def acdc_slices(folder: Path) -> Truth:
    """SSL4MIS: lists, slices of training patients, volumes of the others; h5 with float64 images."""
    (folder / "data" / "slices").mkdir(parents=True)
    lists: dict[str, list[str]] = {"train_slices.list": [], "val.list": [], "test.list": []}
    truth = {}
    for patient, case, use in zip((99, 38, 50, 28, 11, 13), CASES, USES, strict=True):
        for frame, volume in zip((1, 12), generate(case), strict=True):
            name = f"patient{patient:03}_frame{frame:02}"
            image, label = volume.image[0].astype(np.float64), _label(volume)
            truth[name] = volume
            if use == "train":
                for k in range(len(label)):
                    lists["train_slices.list"].append(f"{name}_slice_{k + 1}")
                    write_h5(folder / "data" / "slices" / f"{name}_slice_{k + 1}.h5", image[k], label[k])
            else:
                lists[f"{use}.list"].append(name)
                write_h5(folder / "data" / f"{name}.h5", image, label)
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return truth


def acdc_official(folder: Path) -> Truth:
    """The challenge's download: NIfTI frames with masks, a 4-D cine beside them, Info.cfg, a testing folder."""
    truth = {}
    groups = ("RV", "HCM", "MINF", "DCM", "DCM", "NOR")
    for patient, case, group in zip((99, 38, 50, 28, 11, 101), CASES, groups, strict=True):
        home = folder / ("testing" if patient > 100 else "training") / f"patient{patient:03}"
        home.mkdir(parents=True)
        (home / "Info.cfg").write_text(f"ED: 1\nES: 12\nGroup: {group}\nHeight: 170.0\nNbFrame: 30\nWeight: 70.0\n")
        write_nifti(home / f"{home.name}_4d.nii.gz", np.zeros((4, 4, 2, 3), np.int16), (10, 1.5, 1.5))
        for frame, volume in zip((1, 12), generate(case), strict=True):
            name = f"{home.name}_frame{frame:02}"
            truth[name] = volume
            _pair(home / f"{name}.nii.gz", home / f"{name}_gt.nii.gz", volume)
    return truth


def synapse(folder: Path) -> Truth:
    """TransUNet: npz slices from 0, float32 h5 volumes; one volume a case."""
    (folder / "train_npz").mkdir(parents=True)
    (folder / "test_vol_h5").mkdir()
    truth = {}
    for number, case, use in zip((31, 7, 9, 5, 8, 22), CASES, ("train",) * 4 + ("test",) * 2, strict=True):
        volume = generate(case)[0]
        name = f"case{number:04}"
        truth[name] = volume
        if use == "test":
            write_h5(folder / "test_vol_h5" / f"{name}.npy.h5", volume.image[0], _label(volume).astype(np.float32))
            continue
        for k, (image, label) in enumerate(zip(volume.image[0], _label(volume), strict=True)):
            np.savez(folder / "train_npz" / f"{name}_slice{k:03}.npz", image=image, label=label.astype(np.float32))
    return truth


def decathlon(folder: Path) -> Truth:
    """A Decathlon task with dataset.json."""
    truth = {}
    for case in CASES:
        volume = generate(case)[0]
        truth[f"heart_{case[-3:]}"] = volume
        _pair(folder / "imagesTr" / f"heart_{case[-3:]}.nii.gz", folder / "labelsTr" / f"heart_{case[-3:]}.nii.gz", volume)
    about = {
        "name": "Phantom",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "right ventricle", "2": "myocardium", "3": "left ventricle"},
        "training": [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in truth],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return truth


def folder_table(folder: Path) -> Truth:
    """A table cases.csv with frames; the last training case is unlabelled."""
    truth = {}
    rows = []
    for case, use in zip(CASES, USES, strict=True):
        for frame, volume in zip(("ed", "es"), generate(case), strict=True):
            name = f"{case}_{frame}"
            image, label = f"images/{name}.nii.gz", f"labels/{name}.nii.gz"
            _pair(folder / image, folder / label, volume)
            blank = case == CASES[2]
            truth[name] = Volume(name, case, volume.image, None if blank else volume.label, volume.spacing)
            rows.append([case, image, "" if blank else label, use, frame])
    with open(folder / "cases.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case", "image", "label", "split", "frame"], *rows])
    return truth


def folder_pairs(folder: Path) -> Truth:
    """imagesTr and labelsTr alone."""
    truth = {}
    for case in CASES:
        volume = generate(case)[0]
        truth[case] = volume
        _pair(folder / "imagesTr" / f"{case}.nii", folder / "labelsTr" / f"{case}.nii", volume)
    return truth


LAYOUTS: dict[str, tuple[str, Callable[[Path], Truth]]] = {
    "acdc slices": ("acdc", acdc_slices),
    "acdc official": ("acdc", acdc_official),
    "synapse": ("synapse", synapse),
    "decathlon": ("decathlon", decathlon),
    "folder with a table": ("folder", folder_table),
    "folder of pairs": ("folder", folder_pairs),
}


def write_h5(path: Path, image: np.ndarray, label: np.ndarray) -> None:
    """An h5 file as SSL4MIS and TransUNet write them."""
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")


def write_nifti(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """An array (X, Y, Z, ...) with ``spacing`` (z, y, x) in mm, in RAS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing[::-1], 1.0])), path)


def _pair(image: Path, label: Path, volume: Volume) -> None:
    """Image (12-bit integers, as scanners write them) and label of a phantom volume."""
    write_nifti(image, np.round(volume.image[0].T * 4095).astype(np.int16), volume.spacing)
    write_nifti(label, _label(volume).T, volume.spacing)


def _label(volume: Volume) -> np.ndarray:
    assert volume.label is not None
    return volume.label
