"""Every kind of file of a store damaged, and disks that go bad at every operation of every writer: what is damaged is named and made again,
no cell is lost, none runs twice, and all is equal to the bit.

No part of the usual run: ``make chaos`` inflicts its part of CHAOS_FAULTS.
"""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from benchmark.ground.files import seal
from tests.chaos.damage import DAMAGE
from tests.chaos.disk import STATES, Disk
from tests.chaos.life import Life, finished, stamps
from tests.datasets.layouts import acdc_slices

FAULTS = int(os.environ.get("CHAOS_FAULTS", "0")) * 2 // 5
DISKS = 4
"""One fault of so many is a bad disk."""

KINDS = {
    "prepared data": "cache/datasets/*.h5",
    "sum of prepared data": "cache/datasets/*.sha256",
    "note of contents": "cache/datasets/*.contents",
    "lock of prepared data": "cache/datasets/*.lock",
    "registration": "cache/registration/*/*.sealed",
    "plan": "acdc/*/*/cell.json",
    "record": "acdc/*/*/record.json",
    "metrics": "acdc/*/*/cases.csv",
    "history": "acdc/*/*/history.csv",
    "weights": "acdc/*/*/model.safetensors",
    "seal of a cell": "acdc/*/*/.done",
    "checkpoint": "acdc/*/*/checkpoint",
    "progress": "acdc/*/*/.progress",
    "ablation": "ablations/*.json",
    "journal": "tuning/journal.log",
    "lock of tuning": "tuning/lock",
    "report": "report/leaderboard.csv",
}
UNTOLD = ("lock of prepared data", "lock of tuning", "progress", "report")
"""Nothing is lost with them, and they are written again each time; only where something else stands in their place is that told."""

WITHOUT_SUM = ("journal",)
"""A bit that flips in them and leaves them readable cannot be seen."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)
    return folder


@pytest.mark.chaos
@pytest.mark.skipif(not FAULTS, reason="takes minutes; make chaos runs it")
@pytest.mark.timeout(0)
def test_damage_and_bad_disks_cost_time_and_nothing_else(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, disk = tmp_path / "whole", tmp_path / "disk"
    disk.mkdir()
    life = Life(data, disk / "store", monkeypatch, capsys)
    with Disk(disk, lambda: "full", after=10**9).used() as counted:
        assert life.live() == [0, 0, 0], life.told
    expected = finished(life.store)
    assert len(expected) == 5  # two of the grid, one more of the ablation, two trials
    life.store.rename(whole)
    draw, inflicted = random.Random(0), Counter[str]()
    kinds = draw.sample(list(KINDS), len(KINDS))
    for number in range(FAULTS):
        shutil.rmtree(life.store, ignore_errors=True)
        if number % DISKS == DISKS - 1:
            state = list(STATES)[number // DISKS % len(STATES)]
            bad_disk(life, Disk(disk, lambda state=state: state, draw.randrange(counted.count)), whole, draw)
            inflicted[f"disk {state}"] += 1
        else:
            kind = kinds[number % len(kinds)]
            shutil.copytree(whole, life.store)
            damage = damaged_file(life, kind, draw)
            inflicted[f"{kind}: {damage}"] += 1
        found = finished(life.store)
        assert found == expected, (inflicted, {name for name in expected if found.get(name) != expected[name]})
    with capsys.disabled():
        print(f"\n{counted.count} operations that write; {inflicted.total()} faults:")
        for what, count in sorted(inflicted.items()):
            print(f"{count:4} {what}")


def damaged_file(life: Life, kind: str, draw: random.Random) -> str:
    """Damage a file of the kind, and live on; returns what was done to it."""
    if kind in ("checkpoint", "progress"):
        (left,) = draw.sample(sorted(life.store.glob("acdc/*/*/cell.json")), 1)
        for name in (".done", "record.json"):
            (left.parent / name).unlink()
        (left.parent / Path(KINDS[kind]).name).write_bytes(seal(b"something"))
    file = draw.choice(sorted(life.store.glob(KINDS[kind])))
    if not file.stat().st_size:  # a lock
        file.write_bytes(b"something")
    cell = file.parent.name
    before = {name: stamp for name, stamp in stamps(life.store).items() if name != cell}
    name = draw.choice([name for name in DAMAGE if name != "flipped" or kind not in WITHOUT_SUM])
    DAMAGE[name](file)
    said = life.look()
    assert life.live() == [0, 0, 0], (kind, name, life.told)
    said += life.told
    assert kind in UNTOLD or file.name in said or f"{file.stem}.h5" in said, (kind, name, said)
    after = stamps(life.store)
    assert {cell: after[cell] for cell in before} == before, (kind, name)
    assert life.live() == [0, 0, 0] and ".damaged-" not in life.told, (kind, name, life.told)
    return name


def bad_disk(life: Life, disk: Disk, whole: Path, draw: random.Random) -> None:
    """Live with a disk that goes bad at some operation, on a store that is empty, or lacks a cell; then with a good one."""
    if draw.random() < 0.5:
        shutil.copytree(whole, life.store)
        lacking = draw.choice(sorted(life.store.glob("acdc/*/*/.done")))
        lacking.unlink()
        disk.after %= 50
    with disk.used():
        codes = life.live()
    assert set(codes) <= {0, 1, 2}, (codes, life.told)
    if disk.count > disk.after and codes != [0, 0, 0]:
        assert "no space is left" in life.told or "can only be read" in life.told, life.told
    if disk.state() != "read-only":
        assert not list(life.store.rglob("*.tmp")), life.told
    life.forget_dead()
    before = stamps(life.store)
    assert life.live() == [0, 0, 0], life.told
    after = stamps(life.store)
    assert {cell: after[cell] for cell in before} == before
