"""Damaged files of every layout: whatever bytes a reader meets, it hands out valid volumes or says BadInput.

No part of the usual run: ``make fuzz`` spends FUZZ_SECONDS (300) in all.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from datasets.checks import checked
from datasets.dataset import Volume
from datasets.prepared import Prepared, write
from tests.datasets import layouts

SECONDS = float(os.environ.get("FUZZ_SECONDS", "300"))
TARGETS = [*layouts.LAYOUTS, "pack"]


def tiny(case: str) -> tuple[Volume, ...]:
    """Two small volumes, so that thousands of damaged copies can be read."""
    rng = np.random.default_rng(int(case.removeprefix("case")))
    image = rng.random((2, 1, 3, 12, 10), np.float32)
    label = rng.integers(0, 4, (2, 3, 12, 10), np.uint8)
    return tuple(Volume(f"{case}_{k}", case, image[k], label[k], (8.0, 1.5, 1.5)) for k in range(2))


def write_target(target: str, folder: Path) -> None:
    """The files of a layout, or a packed dataset."""
    name = "decathlon" if target == "pack" else target
    layouts.LAYOUTS[name][1](folder)
    if target == "pack":
        write(read(name, folder), folder.with_suffix(".h5"), 8, lambda done, total: None)
        shutil.rmtree(folder)
        folder.mkdir()
        folder.with_suffix(".h5").rename(folder / "pack.h5")


def read(target: str, folder: Path):
    """The dataset, opened anew."""
    from benchmark.ground import registry

    if target == "pack":
        return Prepared(folder / "pack.h5")
    return registry.load("datasets", layouts.LAYOUTS[target][0])(folder)


def damage(content: bytes, data: st.DataObject) -> bytes:
    """A few bytes changed, a part left out or doubled, or numbers of a header replaced by extreme ones."""
    if not content:
        return content
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        near = data.draw(st.sampled_from([64, 400, len(content)]))
        at = data.draw(st.integers(0, min(near, len(content)) - 1))
        match data.draw(st.sampled_from(["byte", "number", "cut", "double", "text"])):
            case "byte":
                changed[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "number":
                extreme = data.draw(
                    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f"])
                )
                changed[at : at + 4] = extreme
            case "cut":
                del changed[at : at + data.draw(st.integers(1, 200))]
            case "double":
                changed[at:at] = changed[at : at + data.draw(st.integers(1, 200))]
            case "text":
                changed[at : at + 1] = data.draw(st.text(max_size=8)).encode()
    return bytes(changed)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_give_valid_volumes_or_the_declared_error(target: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(layouts, "generate", tiny)
    folder = tmp_path / "data"
    write_target(target, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    # Small files and one of each kind weigh as much as the many slices: they hold the structure.
    kinds = sorted({(path.suffix, path.parent.name): path for path in files}.values())
    outcomes = {"read": 0, "refused": 0}

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        path = data.draw(st.one_of(st.sampled_from(kinds), st.sampled_from(files)))
        whole = path.read_bytes()
        path.write_bytes(damage(whole, data))
        try:
            for volume, _ in checked(read(target, folder)):
                assert np.isfinite(volume.image).all() and (
                    volume.label is None or volume.label.shape == volume.image.shape[1:]
                )
            outcomes["read"] += 1
        except BadInput as error:
            assert str(error)
            outcomes["refused"] += 1
        finally:
            path.write_bytes(whole)

    deadline = time.monotonic() + SECONDS / len(TARGETS)
    while time.monotonic() < deadline:
        batch()
    with capsys.disabled():
        print(f"\n{target}: {outcomes}")
    assert min(outcomes.values()) > 0
