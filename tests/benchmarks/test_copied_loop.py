"""Ours against the loop that the field copies: the same network, losses, batch and number of steps, at 64 pixels."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.cell.training import fit
from benchmark.records.store import CellFolder
from datasets.acdc.dataset import ACDC
from datasets.dataset import Volume
from datasets.registration import Registrations
from datasets.slices import SliceBank
from methods.method import Task
from tests.benchmarks.copied_loop import SliceFiles, TwoStreams, mean_teacher, write_slices
from tests.benchmarks.ratios import Clock, Ledger, Ratio, interleaved, machine_seconds
from tests.benchmarks.scenes import CPU, build, phantom_task


def loop_speed(task: Task, data: str, workers: int, steps: int, rounds: int, clock: Clock) -> Ratio:
    """How many times as fast ours trains a mean teacher, set-up left out on both sides (files are written, the bank is made)."""
    protocol = task.protocol.model_copy(update={"steps": steps})
    volumes = list(task.bank.volumes)
    labelled = [plane for v in volumes for plane in [v.label is not None] * v.image.shape[1]]
    rows = [[i for i, known in enumerate(labelled) if known is wanted] for wanted in (True, False)]
    batch = (protocol.batch_labelled, protocol.batch_unlabelled)

    with tempfile.TemporaryDirectory() as folder:
        files = SliceFiles(write_slices(volumes, Path(folder)), protocol.image_size)

        def theirs() -> None:
            for seed in (random.seed, np.random.seed, torch.manual_seed):
                seed(0)
            logged = mean_teacher(task.unet(), files, TwoStreams(*rows, batch), workers, steps)
            assert len(logged) == steps

        def ours() -> None:
            with tempfile.TemporaryDirectory() as cell:
                fit(build(task, "mean_teacher"), task.bank, protocol, 0, CellFolder(Path(cell)), None, lambda p: None, bool)

        fast, slow = interleaved(ours, theirs, rounds, clock)
    unit = "wall time" if clock is time.perf_counter else "CPU time of all processes"
    name = f"the field's copied loop: {data}, {workers} workers, {unit}"
    return Ratio(name, f"mean teacher, {steps} steps: copied loop / ours", slow / fast, "higher", 2)


def real_task(volumes: list[Volume]) -> Task:
    """Volumes of real patients in the phantom's protocol."""
    protocol = phantom_task().protocol
    bank = SliceBank(volumes, protocol.image_size, CPU)
    return Task(4, 1, protocol, bank, lambda recipe: Registrations.none(volumes), lambda volume, recipe: [])


def test_on_made_up_slices(ledger: Ledger) -> None:
    """Small slices without noise to read: the least that reading costs."""
    ledger.add(loop_speed(phantom_task(), "phantom", 0, steps=10, rounds=2, clock=machine_seconds))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2, 4])
@pytest.mark.parametrize("clock", [machine_seconds, time.perf_counter])
def test_on_real_slices(ledger: Ledger, acdc_folder: Path, workers: int, clock: Clock) -> None:
    """Three epochs. Workers use the machine's other cores, ours uses one; another cell could use the other (``--jobs``)."""
    dataset = ACDC(acdc_folder)
    volumes = [v for i, case in enumerate(dataset.split.train[:14]) for v in dataset.read(case, labels=i < 7)]
    ledger.add(loop_speed(real_task(volumes), "ACDC", workers, steps=48, rounds=1, clock=clock))
