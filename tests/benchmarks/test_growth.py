"""How cost grows with volumes, image size, classes, budget and runs: each measured in turns with the first of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.cell.metrics import volume_metrics
from benchmark.cell.optimiser import Optimiser
from benchmark.conformance.task import made_up_task
from datasets.registration.engine import Engine, RegistrationConfig, prepare
from datasets.registration.pairs import TargetRegistration
from datasets.slices import SliceBank
from methods.method import Step, Task
from tests.benchmarks.ratios import Ledger, interleaved, machine_seconds
from tests.benchmarks.scenes import CPU, bare_step, build, phantom, phantom_task
from tests.benchmarks.test_evaluation import SPACING, TOLERANCE, heart
from tests.benchmarks.test_report import report, write_store

TITLE = "How cost grows, in times the first of the row"


def grow(
    ledger: Ledger, what: str, sizes: Sequence[Any], works: Sequence[Callable[[], Any]], rounds: int = 3, **how: Any
) -> None:
    """Note how many times as long each of ``works`` takes as the first one does."""
    found = ["1"]
    for work in works[1:]:
        more, first = interleaved(work, works[0], rounds, **how)
        found.append(f"{more / first:.2g}")
    ledger.table(TITLE, ["what", "first", "second", "third", "fourth"], [what, *_cells(sizes, found)])


def _cells(sizes: Sequence[Any], found: list[str]) -> list[str]:
    cells = [f"{size}: {value}" for size, value in zip(sizes, found, strict=True)]
    return cells + [""] * (4 - len(cells))


def stepper(task: Task, name: str) -> Callable[[], None]:
    """A bare step in the middle of training."""
    protocol, method = task.protocol, build(task, name).train()
    optimiser = Optimiser(method, protocol)
    batch = task.bank.batch(0, 0, protocol.batch_labelled, protocol.batch_unlabelled)
    return lambda: bare_step(method, optimiser, batch, Step(protocol.steps // 2, protocol.steps))


@pytest.mark.parametrize("name", ["supervised", "cctr"])
def test_image_size(ledger: Ledger, name: str) -> None:
    sizes = (32, 64, 128)
    grow(ledger, f"a step of {name}, by pixels a side", sizes, [stepper(phantom_task(image_size=s), name) for s in sizes])


@pytest.mark.parametrize("name", ["supervised", "cctr"])
def test_classes(ledger: Ledger, name: str) -> None:
    sizes = (2, 4, 9, 14)
    grow(ledger, f"a step of {name}, by classes", sizes, [stepper(made_up_task(classes=s), name) for s in sizes], rounds=8)


def test_classes_of_metrics(ledger: Ledger) -> None:
    """Each further class is the heart's next ring: more classes, the same voxels."""
    sizes, rings = (2, 4, 8), heart() > 0
    works = []
    for classes in sizes:
        label = np.where(rings, 1 + np.arange(rings.shape[2]) * (classes - 1) // rings.shape[2], 0).astype(np.uint8)
        found = np.roll(label, 3, 1)
        works.append(lambda found=found, label=label, n=classes: volume_metrics(found, label, n, SPACING, TOLERANCE))
    grow(ledger, "metrics of a volume, by classes", sizes, works)


def test_size_of_metrics(ledger: Ledger) -> None:
    sizes = (128, 256, 512)
    pairs = [(heart((10, s, s), shift=2.5), heart((10, s, s))) for s in sizes]
    grow(
        ledger,
        "metrics of a volume, by pixels a side",
        sizes,
        [lambda pair=pair: volume_metrics(*pair, 4, SPACING, TOLERANCE) for pair in pairs],
    )


def test_volumes(ledger: Ledger) -> None:
    """A batch costs the same from any bank; making the bank grows with its volumes."""
    dataset = phantom()
    volumes = [v for case in dataset.split.train for v in dataset.read(case, labels=case in dataset.split.train[:3])]
    sizes = (14, 28, 56)
    grow(ledger, "making the slice bank, by volumes", sizes, [lambda n=n: SliceBank(volumes[:n], 64, CPU) for n in sizes])
    banks = [SliceBank(volumes[:n], 64, CPU) for n in sizes]
    works = [lambda bank=bank: [bank.batch(0, step, 8, 8) for step in range(20)] for bank in banks]
    grow(ledger, "a batch, by volumes", sizes, works, rounds=9)


def test_budget(ledger: Ledger) -> None:
    """Sources are searched one by one, but only the best go on: a target with more sources costs less than as many times as much."""
    engine, dataset = Engine(RegistrationConfig(), CPU), phantom()
    target = prepare(dataset.read(dataset.split.train[-1], labels=False)[0], CPU)
    sizes = (1, 3, 7)

    def register(cases: int) -> None:
        sources = [v for case in dataset.split.train[:cases] for v in dataset.read(case, labels=True)]
        prepared = [*(prepare(v, CPU) for v in sources), target]
        TargetRegistration([v.name for v in sources], prepared.__getitem__, engine, {}).compute("deformable")

    grow(ledger, "registering to a volume, by labelled cases", sizes, [lambda n=n: register(n) for n in sizes], rounds=1)
    steps = [stepper(phantom_task(labelled=n), "cctr") for n in sizes]
    grow(ledger, "a step of cctr, by labelled cases", sizes, steps)


def test_runs(ledger: Ledger, tmp_path: Path) -> None:
    sizes = (1, 5, 20)
    works = []
    for runs in sizes:
        store = tmp_path / str(runs)
        write_store(store, methods=10, budgets=(1, 3, 7), runs=runs)
        works.append(lambda store=store: report(store, store / "report"))
    grow(ledger, "report on 10 methods at 3 budgets, by runs", sizes, works, rounds=1, clock=machine_seconds)


def test_threads_stay_one() -> None:
    """All of the above is on one thread, as cells are."""
    phantom_task()
    assert torch.get_num_threads() == 1
