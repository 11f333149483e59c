"""A large set of CTs: preparing it, and a cell on it, need the memory of a few cases."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.ratios import Ledger
from tests.datasets.layouts import write_nifti

ROOT = Path(__file__).parents[2]
SHAPE = (160, 160, 48)
SIZES = (15, 60)

COMMAND = """
import sys
from benchmark.commands import app
from benchmark.ground.environment import peak_memory_mb
app(sys.argv[1:], standalone_mode=False)
print(peak_memory_mb("cpu"))
"""


def write_set(folder: Path, cases: int) -> Path:
    """nnU-Net's layout: a body, a liver, a spleen and noise, 2.5 x 2.5 x 5 mm; 5 MB a case as it is read."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    for number in range(cases):
        rng = np.random.default_rng(number)
        dx, dy, dz = rng.uniform(-0.2, 0.2, 3)
        liver = ((x + 0.3 - dx) / 0.3) ** 2 + ((y - dy) / 0.3) ** 2 + ((z - dz) / 0.6) ** 2 < 1
        spleen = ((x - 0.4 - dx) / 0.15) ** 2 + ((y - dy) / 0.15) ** 2 + ((z - dz) / 0.5) ** 2 < 1
        image = np.where(body, 40, -1000) + 60 * liver + 90 * spleen + rng.integers(-20, 20, SHAPE)
        write_nifti(folder / "imagesTr" / f"case{number:04}_0000.nii.gz", image.astype(np.int16), (5, 2.5, 2.5))
        write_nifti(folder / "labelsTr" / f"case{number:04}.nii.gz", (liver + 2 * spleen).astype(np.uint8), (5, 2.5, 2.5))
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about | {"numTraining": cases}))
    return folder


def peak_mb(*words: str) -> float:
    """Peak memory of a command, in a process of its own."""
    command = [sys.executable, "-c", COMMAND, *words]
    return float(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[-1])


@pytest.mark.timeout(1200)
def test_memory_does_not_go_by_cases(ledger: Ledger, tmp_path: Path) -> None:
    rows = []
    for cases in SIZES:
        data, store = write_set(tmp_path / f"Dataset{cases:03}_CT", cases), str(tmp_path / f"store{cases}")
        about = ("--dataset", "nnunet", "--data", str(data), "--store", store)
        cell = ("--methods", "supervised", "--labels", "3", "--protocol", "smoke", "--launcher", "inline", "--tracking", "none")
        rows.append([peak_mb("prepare", *about), peak_mb("run", *cell, *about)])
    table = [[cases, cases * np.prod(SHAPE) * 4 / 1e6, *row] for cases, row in zip(SIZES, rows, strict=True)]
    texts = [[f"{value:.0f}" for value in row] for row in table]
    ledger.table("A made-up CT set: peak memory, MB", ["cases", "images in full", "prepare", "a cell at smoke"], *texts)
    few, many = np.array(rows)
    assert (many - few < 0.25 * (table[1][1] - table[0][1])).all(), rows
