"""Methods on two devices under the same random numbers, and what they find and cost there.

Where there is no GPU, the second device is simulated (``tests.gpu.simulated``), without oneDNN: other kernels, which round differently.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from benchmark.cell.optimiser import Optimiser
from benchmark.cell.training import _update, step_seconds
from benchmark.conformance.subject import Subject, train
from benchmark.conformance.task import SHIFTS, blob_volume, known_registrations
from benchmark.ground import registry
from benchmark.ground.environment import make_deterministic, peak_memory_mb, reset_peak_memory
from benchmark.ground.protocol import Protocol
from benchmark.ground.rules import get_protocol
from benchmark.study.grid import parse_methods
from datasets.slices import SliceBank
from methods.method import Method, Propagator, Step, Task
from tests.gpu.simulated import DEVICE, second_device

RESULTS = "GPU_TEST_RESULTS"
"""Environment variable: the folder for tables of what was measured on a GPU."""

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
GPU = pytest.param("cuda", marks=gpu, id="gpu")
DEVICES = [pytest.param(DEVICE.type, id="simulated"), GPU]
TRAINED = [name for name in registry.entries("methods") if not issubclass(registry.load("methods", name), Propagator)]
STEPS = range(8, 11)
"""Those compared, of 20: ramps and terms that start late are above zero."""


class SameDraws(TorchDispatchMode):
    """Random numbers come from the CPU's generator, whatever the device: two devices then see the same."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in function.tags:
            return function(*args, **kwargs)
        device = next((a.device for a in args if isinstance(a, torch.Tensor)), kwargs.get("device"))
        if device is None or torch.device(device).type == "cpu":
            return function(*args, **kwargs)
        on_cpu = tree_map_only(torch.Tensor, lambda tensor: tensor.cpu(), (args, kwargs))
        if on_cpu[1].get("device") is not None:
            on_cpu[1]["device"] = torch.device("cpu")
        drawn = tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), function(*on_cpu[0], **on_cpu[1]))
        return args[0].copy_(drawn) if function._schema.is_mutable else drawn


def running_on(device: str) -> contextlib.AbstractContextManager[Any]:
    """What makes the device run, where it is the simulated one."""
    return second_device() if torch.device(device) == DEVICE else contextlib.nullcontext()


@contextlib.contextmanager
def comparable(device: str) -> Iterator[None]:
    """What makes a device comparable with the CPU: the same draws, and float32 that is float32 (no TF32)."""
    flags = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [flag.allow_tf32 for flag in flags]
    with running_on(device), torch.backends.mkldnn.flags(enabled=device == "cpu", allow_tf32=False), SameDraws():
        try:
            for flag in flags:
                flag.allow_tf32 = False
            yield
        finally:
            for flag, value in zip(flags, before, strict=True):
                flag.allow_tf32 = value


def method_on(name: str, device: str, protocol: Protocol) -> Method:
    """A method, as ``--methods`` names it, on four made-up volumes with known registrations; terms that wait for a sure network do not."""
    volumes = [blob_volume(n, s, n[0] in "ab", side=protocol.image_size) for n, s in SHIFTS.items()]
    bank = SliceBank(volumes, protocol.image_size, torch.device(device))
    task = Task(4, 1, protocol, bank, lambda recipe: known_registrations(volumes, SHIFTS), lambda volume, recipe: [])
    (selection,) = parse_methods(name)
    subject = Subject(registry.load("methods", selection.method), selection.hparams)
    return subject.build(subject.probes(), task).to(device)


def terms_of(name: str, device: str) -> list[dict[str, float]]:
    """The terms of a method's first steps. Dropout of the U-Net is off: a GPU draws it inside its kernel."""
    make_deterministic()
    protocol = get_protocol("smoke").model_copy(update={"unet_dropout": (0.0, 0.0, 0.0)})
    with comparable(device):
        method = method_on(name, device, protocol)
        assert all(parameter.device.type == device for parameter in method.parameters())
        return train(method, STEPS)


def first_update(name: str, device: str, precision: str) -> tuple[dict[str, float], Tensor]:
    """The terms of a method's step STEPS.start as its first one, and the gradient of their sum, flat. Dropout is off.

    Not the change of the weights: where AdamW trains, its first step is the gradient's sign.
    """
    make_deterministic()
    changes = {"unet_dropout": (0.0, 0.0, 0.0), "precision": precision}
    protocol = get_protocol("smoke").model_copy(update=changes)
    with comparable(device):
        method = method_on(name, device, protocol).train()
        terms = _update(method, Optimiser(method, protocol), method.task.bank, protocol, 0, Step(STEPS.start, protocol.steps))
        gradient = torch.cat([p.grad.detach().cpu().flatten() for p in method.parameters() if p.grad is not None])
        return {term: float(value) for term, value in terms.items()}, gradient


def differences(one: list[dict[str, float]], other: list[dict[str, float]]) -> list[dict[str, float]]:
    """Step by step, how far each term of ``other`` is from that of ``one``, relative to it."""
    assert [row.keys() for row in one] == [row.keys() for row in other]
    return [{name: abs(b[name] - a[name]) / max(abs(a[name]), 1e-6) for name in a} for a, b in zip(one, other, strict=True)]


def cost_of(name: str, device: str, protocol: str, steps: int) -> dict[str, Any]:
    """Mean seconds of a method's training step in mid-training, and the peak memory of its process (CPU) or of its tensors (GPU), MB."""
    make_deterministic()
    rules = get_protocol(protocol)
    gc.collect()  # the method before
    reset_peak_memory(device)
    seconds = step_seconds(method_on(name, device, rules), rules, 0, steps)
    where = torch.cuda.get_device_name() if device == "cuda" else device
    row = {"method": name, "device": where, "protocol": protocol, "torch": torch.__version__}
    return row | {"seconds_a_step": round(seconds, 5), "peak_memory_mb": round(peak_memory_mb(device), 1)}


def keep(table: pd.DataFrame, name: str, device: str, scratch: Path) -> Path:
    """Write a table as CSV: what a GPU did into the folder that GPU_TEST_RESULTS names or runs/gpu_test, else into ``scratch``."""
    folder = Path(os.environ.get(RESULTS, "runs/gpu_test")) if device == "cuda" else scratch
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"
