"""Slices that all cells of a grid share: the bits of a cell on its own, made once, never believed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.ground.errors import DiskFull
from datasets import resized as module
from datasets.dataset import Volume
from datasets.resized import resized_once
from datasets.slices import SliceBank, resized


class Untouchable(Volume):
    """A volume whose image must not be asked for."""

    @property
    def image(self) -> np.ndarray:  # type: ignore[override]
        raise AssertionError("read again")

    def __init__(self, volume: Volume) -> None:
        self.__dict__.update({key: value for key, value in vars(volume).items() if key != "image"}, _shape=volume.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape  # type: ignore[attr-defined]


@pytest.fixture
def volumes() -> list[Volume]:
    random = np.random.default_rng(0)
    shapes = [(2, 3, 40, 30), (2, 5, 24, 50)]
    labels = [random.integers(0, 3, shapes[0][1:], np.uint8), None]
    images = [random.random(shape, np.float32) for shape in shapes]
    return [Volume(f"v{i}", f"v{i}", images[i], labels[i], (5.0, 1.0, 1.0)) for i in range(2)]


def test_slices_are_made_once_with_the_bits_of_a_cell_on_its_own(volumes: list[Volume], tmp_path: Path) -> None:
    own = SliceBank(volumes, 16, torch.device("cpu"))
    for given in (volumes, [Untouchable(volume) for volume in volumes]):
        images = resized_once(given, 16, tmp_path, "set")
        bank = SliceBank(given, 16, torch.device("cpu"), images)
        assert torch.equal(bank.image, own.image) and torch.equal(bank.label, own.label)
        first, second = own.batch(0, 3, 2, 2), bank.batch(0, 3, 2, 2)
        assert torch.equal(first.image, second.image) and torch.equal(first.label, second.label)
        images.zero_()  # of this process alone
    assert resized_once(volumes, 8, tmp_path, "set").shape == (8, 2, 8, 8)


@pytest.mark.parametrize("damage", ["a bit", "the end", "its sum", "a folder"])
def test_what_is_not_as_it_was_written_is_made_again(volumes: list[Volume], tmp_path: Path, damage: str) -> None:
    resized_once(volumes, 16, tmp_path, "set")
    file = tmp_path / "set-16.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    match damage:
        case "a bit":
            file.write_bytes(content)
        case "the end":
            file.write_bytes(content[:-4])
        case "its sum":
            file.with_suffix(".sha256").unlink()
        case _:
            file.unlink()
            file.mkdir()
    assert torch.equal(resized_once(volumes, 16, tmp_path, "set"), resized(volumes, 16))
    assert torch.equal(resized_once([Untouchable(volume) for volume in volumes], 16, tmp_path, "set"), resized(volumes, 16))


def test_where_nothing_can_be_written_slices_are_in_memory(
    volumes: list[Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFull("no space")

    (tmp_path / "file").write_text("")
    assert torch.equal(resized_once(volumes, 16, tmp_path / "file", "set"), resized(volumes, 16))
    monkeypatch.setattr(module, "_write", full)
    assert torch.equal(resized_once(volumes, 16, tmp_path / "folder", "set"), resized(volumes, 16))
