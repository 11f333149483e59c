"""The same cases have the same scores, whatever layout they come in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from benchmark.cell.experiment import run_cell
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.study.grid import expand, parse_methods
from datasets.preparing import open_dataset
from tests.datasets.odd_files import save, scan

LABELS = {"background": 0, "a": 1, "b": 2}
Volumes = dict[str, tuple[np.ndarray, np.ndarray]]


def made_up() -> Volumes:
    """Whole numbers, which every format keeps."""
    return {f"case_{k:03}": (np.round(image).astype(np.int16), mask) for k in range(6) for image, mask in [scan(k)]}


def real() -> Volumes:
    root = Path(os.environ.get("BENCHMARK_DATA", "shared/data")) / "Task04_Hippocampus"
    if not root.is_dir():
        pytest.skip(f"no Hippocampus in {root.parent}; set BENCHMARK_DATA to the folder that holds Task04_Hippocampus")
    found = {}
    for path in sorted(root.glob("imagesTr/hippocampus_*.nii.gz"))[:8]:
        parts = [nibabel.as_closest_canonical(nibabel.load(root / home / path.name)) for home in ("imagesTr", "labelsTr")]
        image, mask = (np.asarray(part.dataobj) for part in parts)
        image = np.round((image - image.min()) / np.ptp(image) * 60000).astype(np.uint16)
        found[path.name.removesuffix(".nii.gz")] = (image, mask.astype(np.uint8))
    return found


def as_decathlon(root: Path, volumes: Volumes, order: list[tuple[str, str]]) -> None:
    for name, (image, mask) in volumes.items():
        save(root / f"imagesTr/{name}.nii.gz", image, np.eye(4))
        save(root / f"labelsTr/{name}.nii.gz", mask, np.eye(4))
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in volumes]
    about = {"labels": {str(v): k for k, v in LABELS.items()}, "modality": {"0": "MRI"}, "training": pairs}
    (root / "dataset.json").write_text(json.dumps(about))


def as_nnunet(root: Path, volumes: Volumes, order: list[tuple[str, str]]) -> None:
    for name, (image, mask) in volumes.items():
        save(root / f"imagesTr/{name}_0000.nii.gz", image, np.eye(4))
        save(root / f"labelsTr/{name}.nii.gz", mask, np.eye(4))
    about = {"channel_names": {"0": "MRI"}, "labels": LABELS, "numTraining": len(volumes), "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about))


def as_folder(root: Path, volumes: Volumes, order: list[tuple[str, str]]) -> None:
    rows = ["case,image,label,split"]
    for name, use in order:
        image, mask = volumes[name]
        save(root / f"{name}.nii", image[::-1], np.diag([-1.0, 1, 1, 1]))  # stored from right to left
        save(root / f"{name}_seg.nii", mask, np.diag([1.0, 1, 1, 1]) + np.array([[0, 0, 0, 1 - len(mask)], *3 * [[0] * 4]]))
        rows.append(f"{name},{name}.nii,{name}_seg.nii,{use}")
    (root / "cases.csv").write_text("\n".join(rows))
    (root / "classes.txt").write_text("\n".join(LABELS))


def as_pictures(root: Path, volumes: Volumes, order: list[tuple[str, str]]) -> None:
    from PIL import Image

    rows = ["case,image,label,split"]
    for name, use in order:
        image, mask = volumes[name]
        for k in range(image.shape[2]):
            Image.fromarray(image[..., k].T.clip(0).astype(np.uint16)).save(root / f"{name}_{k}.png")
            Image.fromarray(mask[..., k].T).save(root / f"{name}_{k}_mask.png")
            rows.append(f"{name},{name}_{k}.png,{name}_{k}_mask.png,{use}")
    (root / "cases.csv").write_text("\n".join(rows))
    (root / "classes.yaml").write_text("\n".join(f"{name}: {value}" for name, value in LABELS.items()))


LAYOUTS = {"decathlon": as_decathlon, "nnunet": as_nnunet, "folder": as_folder, "images": as_pictures}


@pytest.mark.parametrize("make", [made_up, pytest.param(real, marks=pytest.mark.slow)])
def test_layouts_of_the_same_cases_score_alike(make, tmp_path: Path) -> None:
    volumes, order, tables, losses = make(), [], {}, {}
    for name, write in LAYOUTS.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, volumes, order)
        source = open_dataset(name, tmp_path / name)
        split = source.split
        uses = {"train": split.train, "val": split.val, "test": split.tests["test"]}
        order = order or [(case, use) for use, cases in uses.items() for case in cases]
        assert order == [(case, use) for use, cases in uses.items() for case in cases]
        (cell,) = expand(source, parse_methods("supervised"), [1], [(0, 0)], get_protocol("smoke"), "")
        cell = cell.model_copy(update={"dataset": name, "data": tmp_path / name})
        store = Store(tmp_path / f"store {name}")
        assert run_cell(cell, store, "cpu") == "done", store.folder(cell).record()
        table = pd.read_csv(store.folder(cell).path / "cases.csv")
        tables[name] = table.set_index(["case", "class", "network", "selection", "metric"])["value"]
        losses[name] = pd.read_csv(store.folder(cell).path / "history.csv")["loss"]
    assert len(tables["decathlon"]) and losses["decathlon"].nunique() > 3
    for name, table in tables.items():
        np.testing.assert_allclose(losses[name], losses["decathlon"], rtol=1e-4, err_msg=name)
        pd.testing.assert_series_equal(table, tables["decathlon"], rtol=1e-4, obj=name)
