"""Damaged files of every layout: whatever bytes a reader meets, it hands out valid volumes or says BadInput."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from datasets.checks import checked
from datasets.dataset import Volume
from datasets.packing import write
from datasets.prepared import Prepared
from tests.datasets import layouts
from tests.fuzz.fuzzing import damage, few, spend

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


@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_give_valid_volumes_or_the_declared_error(target: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(layouts, "generate", tiny)
    folder = tmp_path / "data"
    write_target(target, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    # Small files and one of each kind weigh as much as the many slices: they hold the structure.
    kinds = sorted({(path.suffix, path.parent.name): path for path in files}.values())
    outcomes = Counter[str]()

    @few
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

    told = spend(batch, outcomes)
    with capsys.disabled():
        print(f"\n{target}: {told}")
