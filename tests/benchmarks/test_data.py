"""What data costs before a step is made: the slices of each cell, and a prepared file; and what the look at a finished cell costs."""

import itertools
import time
from pathlib import Path

import numpy as np
import torch

from benchmark.ground.files import file_checksum, is_whole, note_sum
from benchmark.records.store import WEIGHTS, CellFolder
from datasets.h5_writer import GZIP, writing_h5
from datasets.resized import resized_once
from datasets.slices import SliceBank
from tests.benchmarks.ratios import Ledger, Ratio, interleaved
from tests.benchmarks.scenes import CPU, phantom

SIDE = 96


def test_slices_that_cells_share(ledger: Ledger, tmp_path: Path) -> None:
    dataset = phantom()
    volumes = [v for case in dataset.split.train for v in dataset.read(case, labels=False)]
    own, shared = interleaved(
        lambda: SliceBank(volumes, SIDE, CPU),
        lambda: SliceBank(volumes, SIDE, CPU, resized_once(volumes, SIDE, tmp_path, "phantom")),
        rounds=3,
    )
    ledger.add(Ratio("slices of the phantom, from the second cell on", "made by a cell / mapped", own / shared, "higher", 1))
    assert torch.equal(SliceBank(volumes, SIDE, CPU).image, resized_once(volumes, SIDE, tmp_path, "phantom"))


def test_compressing_on_all_cores(ledger: Ledger, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).random((1, 24, 384, 384), np.float32).round(3)
    numbers = itertools.count()

    def write(shared: bool) -> None:
        with writing_h5(tmp_path / f"{next(numbers)}.h5", "w") as out:
            if shared:
                out.add_slices("image", volume)
            else:
                out.add("image", volume, chunks=(1, 1, 384, 384), shuffle=True, **GZIP)

    shared, alone = interleaved(lambda: write(True), lambda: write(False), rounds=3, clock=time.perf_counter)
    ledger.add(Ratio("a prepared volume", "wall time: compressed by HDF5 / by all cores", alone / shared, "higher", 1))


def test_a_look_at_a_prepared_file(ledger: Ledger, tmp_path: Path) -> None:
    """As every process that runs cells looks, before it opens it: 200 MB."""
    file = tmp_path / "set.h5"
    file.write_bytes(np.random.default_rng(0).bytes(200_000_000))
    note_sum(file)
    quick, whole = interleaved(lambda: is_whole(file), lambda: file_checksum(file), rounds=3)
    ledger.add(Ratio("a look at a prepared file", "read through / known to be untouched", whole / quick, "higher", 10))


def test_a_look_at_a_finished_cell(ledger: Ledger, tmp_path: Path) -> None:
    """As `run` and `ls cells` look: with 100 MB of weights."""
    folder = CellFolder(tmp_path / "a" / "b" / "c")
    folder.finish({"record.json": "{}", WEIGHTS: np.random.default_rng(0).bytes(100_000_000)})
    quick, whole = interleaved(lambda: folder.damaged(read_all=False), lambda: folder.damaged(), rounds=3)
    ledger.add(Ratio("a look at a finished cell", "weights read / known to be untouched", whole / quick, "higher", 10))
    assert folder.damaged() == []
