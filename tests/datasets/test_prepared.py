"""Prepared and packed datasets: whole or not there, the same data as the source, at home where the source is not."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from benchmark.cell.experiment import training_volumes
from benchmark.ground.errors import BadInput
from benchmark.records.store import Store
from benchmark.study.preparation import PackedRegistrations, pack_dataset, prepare_shown
from datasets import checks, h5_writer
from datasets.checks import uses
from datasets.contents import hash_of
from datasets.dataset import Split, Volume
from datasets.packing import write
from datasets.prepared import Prepared
from datasets.preparing import open_dataset, prepare
from datasets.registration import Recipe, Registrations
from tests.conftest import Disk
from tests.datasets.layouts import LAYOUTS

ROOT = Path(__file__).parents[2]


def start(store: Path) -> subprocess.Popen[str]:
    """``prepare`` of the phantom in a process of its own."""
    arguments = [sys.executable, "-m", "benchmark", "prepare", "--store", str(store)]
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def cached(store: Path) -> list[Path]:
    return [path for path in (store / "cache" / "datasets").iterdir() if path.suffix not in (".lock", ".sha256", ".contents")]


def test_two_at_once_and_one_killed_half_way_leave_the_same_whole_file(tmp_path: Path) -> None:
    killed = start(tmp_path / "killed")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("killed/cache/datasets/.*.tmp")):
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    (left,) = cached(tmp_path / "killed")
    assert left.suffix == ".tmp"

    both = [start(tmp_path / "killed") for _ in range(2)]
    alone = start(tmp_path / "alone")
    for process in (*both, alone):
        told, errors = process.communicate(timeout=120)
        assert process.returncode == 0 and "phantom: 44 cases" in told, errors
    (kept,), (undisturbed,) = cached(tmp_path / "killed"), cached(tmp_path / "alone")
    assert kept.name == undisturbed.name and kept.read_bytes() == undisturbed.read_bytes()


def pairs(folder: Path) -> Path:
    LAYOUTS["folder of pairs"][1](folder)
    return folder


@pytest.mark.parametrize(("bits", "error"), [(8, 0.5 / 255), (16, 0.5 / 65535)])
def test_a_pack_holds_the_data_in_fewer_bits_and_says_so(tmp_path: Path, bits, error: float) -> None:
    source = prepare("folder", pairs(tmp_path / "data"), tmp_path / "cache")
    write(source, tmp_path / "pack.h5", bits, lambda done, total: None)
    packed = open_dataset("folder", tmp_path / "pack.h5")
    assert packed.split == source.split and hash_of(packed) != hash_of(source)
    for case in uses(source):
        for a, b in zip(source.read(case, labels=True), packed.read(case, labels=True), strict=True):
            assert np.abs(a.image - b.image).max() <= error * 1.01 and np.abs(a.image - b.image).max() > 0
            np.testing.assert_array_equal(a.label, b.label)
    assert prepare("folder", tmp_path / "pack.h5", tmp_path / "cache") is packed
    assert (tmp_path / "pack.h5").stat().st_size < source.file.stat().st_size  # type: ignore[attr-defined]
    write(packed, tmp_path / "again.h5", bits, lambda done, total: None)
    assert hash_of(Prepared(tmp_path / "again.h5")) == hash_of(packed)


def test_packed_registrations_are_found_and_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console
) -> None:
    store = Store(tmp_path / "store")
    source = prepare_shown("folder", pairs(tmp_path / "data"), store, console)
    pack_dataset(source, tmp_path / "pack.h5", 8, PackedRegistrations("1", 2, "cpu", 1), store, console)
    packed = Prepared(tmp_path / "pack.h5")
    assert packed.manifest.registrations
    packed.unpack_registrations(tmp_path / "elsewhere")
    for stage in ("search", "refine"):
        monkeypatch.setattr(f"datasets.registration.engine.Engine.{stage}", None)
    volumes = training_volumes(packed, packed.split.train[:1])
    found = Registrations.load(volumes, Recipe(), tmp_path / "elsewhere", torch.device("cpu"))
    assert sum(map(len, found.candidates)) == len(packed.split.train) - 1


def test_a_damaged_file_of_the_cache_is_written_again(tmp_path: Path) -> None:
    def volumes() -> list[Volume]:
        prepared = prepare("folder", pairs(tmp_path / "data"), tmp_path / "cache")
        return [volume for case in uses(prepared) for volume in prepared.read(case, labels=True)]

    before = volumes()
    (file,) = (tmp_path / "cache").glob("*.h5")
    whole = file.read_bytes()
    middle = len(whole) // 2
    for damaged in (b"", whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        file.write_bytes(damaged)
        for a, b in zip(before, volumes(), strict=True):
            np.testing.assert_array_equal(a.image, b.image)
            np.testing.assert_array_equal(a.label, b.label)
        assert file.read_bytes() == whole


def test_masks_stay_in_the_file_unless_asked_for(tmp_path: Path) -> None:
    prepared = prepare("folder", pairs(tmp_path / "data"), tmp_path / "cache")
    with h5py.File(prepared.file, "r+") as file:
        for name in [name for name in file if name.startswith("label")]:
            del file[name]
    for case in uses(prepared):
        assert all(volume.label is None for volume in prepared.read(case, labels=False))
        with pytest.raises(BadInput, match=r"label \d is missing"):
            prepared.read(case, labels=True)


class Faulty:
    """A plug-in dataset whose one fault is given."""

    name, path, classes, channels, spacing_known = "faulty", None, ("background", "heart"), 1, True
    facts = warnings = ()
    reading, has_test_set, licence = None, True, ""

    def __init__(self, **fault) -> None:
        self.fault, self.train_groups = fault, {}
        self.split = fault.pop("split", Split(("a", "b"), (), {"test": ("c",)}))

    def content_hash(self) -> str:
        return "0"

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        image = np.random.default_rng(ord(case)).random((1, 4, 16, 16), np.float32)
        values = {
            "name": case,
            "case": case,
            "image": image,
            "label": np.zeros((4, 16, 16), np.uint8),
            "spacing": (8.0, 1.0, 1.0),
        }
        return (Volume(**(values | (self.fault if case == "b" else {}))),)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"image": np.zeros((2, 4, 16, 16), np.float32)}, "b has an image of shape"),
        ({"image": np.zeros((1, 4, 16, 16))}, r"b has intensities .*\(float64\)"),
        ({"image": np.full((1, 4, 16, 16), 1.5, np.float32)}, "b has intensities from 1.5"),
        ({"image": np.full((1, 4, 16, 16), np.nan, np.float32)}, "b has intensities from nan"),
        ({"label": np.ones((4, 16, 15), np.uint8)}, "one shape"),
        ({"label": np.full((4, 16, 16), 2, np.uint8)}, "labels up to 2"),
        ({"label": None}, "no label"),
        ({"spacing": (0.0, 1.0, 1.0)}, "spacing"),
        ({"spacing": (float("nan"), 1.0, 1.0)}, "spacing"),
        ({"name": "a"}, "two volumes are called a"),
        (
            {"image": np.random.default_rng(ord("c")).random((1, 4, 16, 16), np.float32)},
            r"c \(test\) and b \(train\) hold the same",
        ),
        ({"split": Split(("a", "b"), (), {"test": ("b",)})}, "b is in train and in test"),
    ],
)
def test_a_plug_in_dataset_is_held_to_the_rules_too(tmp_path: Path, fault: dict, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        write(Faulty(**fault), tmp_path / "x.h5", None, lambda done, total: None)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_faultless_plug_in_dataset_is_written(tmp_path: Path) -> None:
    write(Faulty(), tmp_path / "x.h5", None, lambda done, total: None)  # type: ignore[arg-type]
    assert Prepared(tmp_path / "x.h5").split.train == ("a", "b")


@pytest.mark.parametrize("free", [0, 1e12])
def test_a_case_is_read_ahead_where_memory_has_room_and_one_at_a_time(free: float, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    class Watched(Faulty):
        def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
            events.append(f"read {case}")
            if case == "c":
                raise BadInput("c cannot be read")
            found = super().read(case, labels)
            events.append(f"has {case}")
            return found

    monkeypatch.setattr(checks, "free_memory", lambda: free)
    with pytest.raises(BadInput, match="c cannot be read"):
        for volume, _ in checks.checked(Watched()):  # type: ignore[arg-type]
            time.sleep(0.1)
            events.append(f"used {volume.name}")
    order = ["read a", "has a", "used a", "read b", "has b", "used b", "read c"]
    assert events == (order if not free else ["read a", "has a", "read b", "has b", "used a", "read c", "used b"])


def test_slices_are_compressed_as_hdf5_compresses_them(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((2, 3, 20, 30), np.float32).round(1)
    label = (noise[0] > 0.5).astype(np.uint8)
    with h5_writer.writing_h5(tmp_path / "x.h5", "w") as out:
        for name, array in (("noise", noise), ("label", label)):
            out.add_slices(name, array)
            chunks = (1,) * (array.ndim - 2) + array.shape[-2:]
            out.add(f"{name} by HDF5", array, chunks=chunks, shuffle=array.itemsize > 1, **h5_writer.GZIP)
    with h5py.File(tmp_path / "x.h5") as file:
        for name, array in (("noise", noise), ("label", label)):
            own, theirs = file[name], file[f"{name} by HDF5"]
            assert np.array_equal(own[()], array) and own.id.get_storage_size() == theirs.id.get_storage_size()
            place = (0,) * (array.ndim - 3) + (1, 0, 0)
            assert own.id.read_direct_chunk(place) == theirs.id.read_direct_chunk(place)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere/x\.h5 cannot be written"):
        write(Faulty(), tmp_path / "nowhere" / "x.h5", None, lambda done, total: None)  # type: ignore[arg-type]


def test_the_acdc_subset_packs_into_64_mb(acdc_folder: Path, tmp_path: Path) -> None:
    write(open_dataset("acdc", acdc_folder), tmp_path / "acdc.h5", 8, lambda done, total: None)
    assert (tmp_path / "acdc.h5").stat().st_size <= 64e6


def prepare_on(disk: Disk, data: Path, free: int) -> subprocess.CompletedProcess[str]:
    """``prepare`` on a disk that has ``free`` bytes left."""
    ballast = disk.path / "ballast"
    ballast.unlink(missing_ok=True)
    about = os.statvfs(disk.path)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - free)
    arguments = ["prepare", "--dataset", "folder", "--data", str(data), "--store", str(disk.path / "store")]
    return subprocess.run([sys.executable, "-m", "benchmark", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_a_disk_that_fills_while_data_is_prepared_is_one_sentence_and_the_repeat_ends_well(tmp_path: Path, disk: Disk) -> None:
    pairs(tmp_path / "data")
    for free in (12_288, 24_576):
        ended = prepare_on(disk, tmp_path / "data", free)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr[-2000:]
        assert f"error: no space is left on the disk (or in the quota) of {disk.path}" in ended.stderr
        assert not [path for path in disk.path.rglob("*") if path.suffix in (".tmp", ".h5")]
    assert prepare_on(disk, tmp_path / "data", 8 * 2**20).returncode == 0
    assert len(cached(disk.path / "store")) == 1


@pytest.mark.parametrize("room", [0, 1, 2_000, 5_000, 60_000])
def test_wherever_a_disk_fills_the_h5_writer_raises_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    real, left = open, room

    class Full(io.FileIO):
        def write(self, content: bytes) -> int:
            nonlocal left
            if not left:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = min(left, len(memoryview(content)))
            left -= taken
            return super().write(memoryview(content)[:taken])

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        return Full(path, "w+") if mode == "w+b" else real(path, mode, **options)

    monkeypatch.setattr("builtins.open", open_full)
    noise = np.random.default_rng(0).random((8, 32, 32))
    with pytest.raises(OSError) as caught, h5_writer.writing_h5(tmp_path / "x.h5", "w") as out:
        for number in range(3):
            out.add(f"image {number}", noise, chunks=(1, 32, 32), fletcher32=True)
    assert caught.value.errno == errno.ENOSPC
