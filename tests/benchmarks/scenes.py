"""What the benchmarks of training work on: the phantom at `quick`, its methods, a bare step and the harness's own."""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmark.cell.optimiser import Optimiser
from benchmark.cell.training import Interrupted, fit
from benchmark.conformance.subject import same_state
from benchmark.ground import registry
from benchmark.ground.environment import make_deterministic
from benchmark.ground.rules import get_protocol
from benchmark.records.store import CellFolder
from datasets.dataset import Dataset, Volume
from datasets.preparing import open_dataset
from datasets.registration import Registrations
from datasets.slices import Batch, SliceBank
from methods.method import Method, Step, Task
from tests.benchmarks.ratios import Clock, Ratio

METHODS = [name for name in registry.entries("methods") if issubclass(registry.load("methods", name), Method)]
CPU = torch.device("cpu")


def phantom() -> Dataset:
    """The phantom, made once a process."""
    return open_dataset("phantom", None)


def scored_volumes(dataset: Dataset) -> list[Volume]:
    """The volumes of all test sets, with their masks."""
    return [v for cases in dataset.split.tests.values() for case in cases for v in dataset.read(case, labels=True)]


@functools.cache
def phantom_task(labelled: int = 3, device: torch.device = CPU, preset: str = "quick", **changes: Any) -> Task:
    """The phantom's training set, without registrations; ``changes`` are of the protocol."""
    make_deterministic()
    dataset, protocol = phantom(), get_protocol(preset).model_copy(update=changes)
    volumes = [v for case in dataset.split.train for v in dataset.read(case, labels=case in dataset.split.train[:labelled])]
    bank = SliceBank(volumes, protocol.image_size, device)
    return Task(len(dataset.classes), 1, protocol, bank, lambda recipe: Registrations.none(volumes), lambda volume, recipe: [])


def build(task: Task, name: str) -> Method:
    """A method with its published hyper-parameters, past any warm-up, the same weights every time."""
    torch.manual_seed(0)
    method_class = registry.load("methods", name)
    method: Method = method_class(task, method_class.Hparams(**method_class.probe))  # type: ignore[attr-defined]
    return method.to(task.bank.device)


def bare_step(method: Method, optimiser: Optimiser, batch: Batch, step: Step) -> None:
    """Forward, backward and optimiser on a ready batch, and nothing else."""
    terms = method.losses(batch, step)
    optimiser.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()


def harness_overhead(name: str, steps: int, clock: Clock = time.process_time, device: torch.device = CPU) -> Ratio:
    """Steps of ``fit`` against bare steps of a twin, in turns, from the first step of a training to its last.

    The twin gets the batch, the seed and the learning rate for nothing; at the end both must have the same weights to the bit, or
    something else was compared. The median over pairs of steps.
    """
    task = phantom_task(device=device, steps=steps + 1)
    protocol, method, twin = task.protocol, build(task, name), build(task, name).train()
    optimiser = Optimiser(twin, protocol)
    full: list[float] = []
    bare: list[float] = []
    began = 0.0

    def stopping() -> bool:
        """Called by ``fit`` after every step: time that step, then the twin's."""
        nonlocal began
        finish(device)
        full.append(clock() - began)
        step = Step(len(full) - 1, protocol.steps)
        optimiser.schedule(step)
        batch = task.bank.batch(0, step.index, protocol.batch_labelled, protocol.batch_unlabelled)
        torch.manual_seed(step.index)
        finish(device)
        began = clock()
        bare_step(twin, optimiser, batch, step)
        finish(device)
        bare.append(clock() - began)
        twin.after_step(step)
        began = clock()
        return len(full) == steps

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Interrupted):
        fit(method, 0, CellFolder(Path(folder)), None, lambda progress: None, stopping)
    assert device != CPU or same_state(method, twin)
    value = statistics.median(a / b for a, b in zip(full[2:], bare[2:], strict=True))
    on = "" if device == CPU else ", GPU"
    return Ratio(f"harness overhead: {name}{on}", "step of `fit` / bare step on a ready batch", value, "lower", 1.05)


def finish(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
