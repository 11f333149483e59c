"""Reading and preparing hold no more than twice the largest volume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = '''
import gc, json, sys
from pathlib import Path
import h5py, nibabel, numpy as np
from PIL import Image
from datasets.prepared import prepare
from datasets.left_atrium import LeftAtrium
from datasets.folder import Folder
from tests.datasets.odd_files import atria, pairs, save, table

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def peak(act):
    """Bytes held at most while ``act`` runs, beyond those held before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    result = act()
    return memory("VmHWM") - before, result

SHAPE = (256, 256, 96)
ramp = (np.arange(np.prod(SHAPE), dtype=np.int32) % 4093).reshape(SHAPE)
mask = (ramp > 2000).astype(np.uint8)
ways = {
    "int16": (ramp.astype(np.int16), mask, {}),
    "scaled": (ramp.astype(np.int16), mask, {"scl_slope": 0.25, "scl_inter": -1000}),
    "float64": (ramp.astype(np.float64), mask.astype(np.float64), {}),
    "turned": (ramp.astype(np.float32), mask, {"turned": True}),
}
root, found = Path(sys.argv[1]), {}
for name, (image, label, header) in ways.items():
    home = root / name
    where = np.diag([-1.0, 1, 1, 1])[[2, 1, 0, 3]] if header.pop("turned", False) else np.eye(4)
    for number in range(2):
        for part, array in (("image", image[:: 1 - 2 * number]), ("label", label)):
            path = home / f"{part}{number}.nii"
            home.mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(array, where)
            if part == "image" and header:
                volume.header.set_slope_inter(1, 0)
            nibabel.save(volume, path)
            if part == "image" and header:
                with open(path, "r+b") as file:
                    file.seek(112)
                    file.write(np.array([header["scl_slope"], header["scl_inter"]], "<f4").tobytes())
    (home / "cases.csv").write_text("case,image,label,split\\na,image0.nii,label0.nii,train\\nb,image1.nii,label1.nii,test\\n")
    (home / "classes.txt").write_text("background\\na\\n")
del volume, array, image, label
(root / "la").mkdir()
for number, use in enumerate(("train", "test")):
    with h5py.File(root / f"la/s{number}.h5", "w") as file:
        file["image"], file["label"] = ramp.astype(np.float64), mask
    (root / f"la/{use}.list").write_text(f"s{number}\\n")
del ramp, mask, ways
prepare("phantom", None, root / "warm")
size = 5 * int(np.prod(SHAPE))
for name in ("int16", "scaled", "float64", "turned"):
    dataset = Folder(root / name)
    dataset.survey, dataset.channels
    found[name], volumes = peak(lambda: dataset.read("a", labels=True))
    assert sum(v.image.nbytes + v.label.nbytes for v in volumes) == size
    del volumes
found["la"], _ = peak(lambda: LeftAtrium(root / "la").read("s0", labels=True))
found["prepare"], prepared = peak(lambda: prepare("folder", root / "int16", root / "cache"))
print(json.dumps({name: value / size for name, value in found.items()}))
'''


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_the_peak_is_less_than_two_volumes(tmp_path: Path) -> None:
    """31 MB a volume with its mask, from files in several types; beyond that a few MB of slabs."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6 and all(0.5 < value < 2.2 for value in found.values()), found
