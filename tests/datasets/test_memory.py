"""Reading and preparing hold no more than twice the largest volume, and training no more than that beside its slices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = '''
import json, sys
from pathlib import Path
import h5py, nibabel, numpy as np, torch
from benchmark.cell.experiment import training_volumes
from datasets import checks
from datasets.preparing import prepare
from datasets.left_atrium import LeftAtrium
from datasets.folder import Folder
from datasets.resized import resized_once
from datasets.slices import SliceBank

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def peak(act):
    """Bytes held at most while ``act`` runs, beyond those held before, in volumes with their masks."""
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    act()
    return (memory("VmHWM") - before) / (5 * np.prod(SHAPE))

SHAPE = (192, 192, 96)
root, found = Path(sys.argv[1]), {}

def write():
    ramp = (np.arange(np.prod(SHAPE), dtype=np.int32) % 4093).reshape(SHAPE)
    mask = (ramp > 2000).astype(np.uint8)
    for kind in (np.int16, np.float64):
        home = root / kind.__name__
        home.mkdir()
        for number in range(2):
            nibabel.save(nibabel.Nifti1Image(ramp.astype(kind)[:: 1 - 2 * number], np.eye(4)), home / f"image{number}.nii")
            nibabel.save(nibabel.Nifti1Image(mask.astype(kind), np.eye(4)), home / f"label{number}.nii")
        rows = ["case,image,label,split", "a,image0.nii,label0.nii,train", "b,image1.nii,label1.nii,test"]
        if kind is np.int16:
            rows += [f"more{number},image0.nii,label0.nii,train" for number in range(5)]
        (home / "cases.csv").write_text("\\n".join(rows))
        (home / "classes.txt").write_text("background\\na")
    for use in ("train", "test"):
        with h5py.File(root / f"{use}1.h5", "w") as file:
            file["image"], file["label"] = ramp.astype(np.float64), mask
        (root / f"{use}.list").write_text(f"{use}1")

write()
for kind in ("int16", "float64"):
    dataset = Folder(root / kind)
    dataset.survey, dataset.channels
    found[kind] = peak(lambda: dataset.read("a", labels=True))
found["h5"] = peak(lambda: LeftAtrium(root).read("train1", labels=True))
checks.free_memory = lambda: 0  # else the next case is read meanwhile
found["prepare"] = peak(lambda: prepare("folder", root / "int16", root / "cache"))
prepared = prepare("folder", root / "int16", root / "cache")
torch.set_num_threads(1)
banks = []
found["train"] = peak(lambda: banks.append(SliceBank(training_volumes(prepared, ("a",)), 32, torch.device("cpu"))))
found["train"] -= banks[0].image.nbytes / (5 * np.prod(SHAPE))
assert len(banks[0].volumes) == 6
volumes = training_volumes(prepared, ("a",))
found["slices"] = peak(lambda: banks.append(resized_once(volumes, 96, root / "slices", "a")))
assert (root / "slices" / "a-96.npy").stat().st_size > 6 * 96**3 * 4
print(json.dumps(found))
'''


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_the_peak_is_at_most_two_volumes(tmp_path: Path) -> None:
    """18 MB a volume with its mask; beyond two of them a few MB of slabs, and of libraries that load on the way."""
    freed = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back, and so not counted
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, env=freed)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6 and all(0.9 < value < 2.4 for value in found.values()), found
