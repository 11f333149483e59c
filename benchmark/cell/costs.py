"""What a cell will take before it has run: a table of what methods cost beside a lone U-Net, and one tiny measurement of this machine.

``costs.json`` is measured by ``make performance`` at the rules REFERENCE: the seconds of a method's step, in those of a U-Net that passes
forward and back over the same batch, and the memory that it takes, in what that U-Net keeps for its backward pass. Other rules are
reached by the U-Net's seconds there, of a few slices, and by the bytes that it keeps, which a piece of a slice shows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.cell.training import precision, step_seconds
from benchmark.ground import registry
from benchmark.ground.environment import make_deterministic
from benchmark.ground.protocol import Protocol
from benchmark.ground.rules import get_protocol
from benchmark.records.identity import Cell
from datasets.dataset import Volume
from datasets.registration import Registrations
from datasets.slices import SliceBank
from methods.method import Propagator, Task
from methods.networks.unet import UNet

REFERENCE = "quick"
TABLE = Path(__file__).with_name("costs.json")
PROCESS_BYTES = 450e6
"""Of a worker before it has a cell: Python, torch, monai and what they load."""
ROUNDS, FEW = 4, 4
"""How often a step is measured; slices of it on a CPU."""


class Work(NamedTuple):
    """A U-Net's pass over a batch: operations forward, and bytes kept for the pass back."""

    operations: float
    kept: float


@cache
def work(protocol: Protocol, channels: int, classes: int) -> Work:
    """Of a piece of one slice, and so by area."""
    kept: dict[int, int] = {}
    operations = 0

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def count(layer: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal operations
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            operations += 2 * output.numel() * layer.weight[0].numel()

    network = UNet(channels, classes, protocol.unet_widths, protocol.unet_dropout)
    for layer in network.modules():
        layer.register_forward_hook(count)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(1, channels, side := 2 ** len(protocol.unet_widths), side))  # a multiple of the deepest stride
    times = _batch(protocol) * (protocol.image_size / side) ** 2
    return Work(operations * times, sum(kept.values()) * times)


@cache
def unit_seconds(protocol: Protocol, device: str) -> float:
    """Seconds of a U-Net's step at these rules on this machine, as a cell runs on it, the best of a few."""
    make_deterministic()
    network = UNet(1, 4, protocol.unet_widths, protocol.unet_dropout).to(device)
    shape = (_batch(protocol), protocol.image_size, protocol.image_size)
    image, label = torch.rand(shape, device=device)[:, None], torch.zeros(shape, dtype=torch.long, device=device)
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with precision(protocol, image.device):
            loss = F.cross_entropy(network(image), label)
        loss.backward()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def half_precision_share(protocol: Protocol, device: str) -> float:
    """What a U-Net's step at these rules takes in bfloat16, in float32's, on this machine; on a CPU, of a few slices."""
    one, half = (batch_seconds(protocol.model_copy(update={"precision": name}), device) for name in ("float32", "bfloat16"))
    return half / one


def batch_seconds(protocol: Protocol, device: str) -> float:
    """``unit_seconds``, on a CPU from FEW slices: there it is in proportion to the batch."""
    if device.startswith("cuda"):
        return unit_seconds(protocol, device)
    same = {name: getattr(protocol, name) for name in ("image_size", "unet_widths", "unet_dropout", "precision")}
    few = get_protocol(REFERENCE).model_copy(update=same | {"batch_labelled": FEW // 2, "batch_unlabelled": FEW // 2})
    return unit_seconds(few, device) * _batch(protocol) / FEW


@cache
def table() -> Mapping[str, Mapping[str, float]]:
    """By built-in method: "seconds" and "memory", see above."""
    found: dict[str, dict[str, float]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return found


def training_seconds(cell: Cell, device: str) -> float:
    """Seconds that the cell's training will take, about; registrations and tests are left out."""
    method: Any = registry.load("methods", cell.method)
    if issubclass(method, Propagator):
        return 0.0
    known = table().get(cell.method)
    relative = known["seconds"] if known else _relative(cell.method, json.dumps(cell.hparams), device)
    return cell.protocol.steps * relative * batch_seconds(cell.protocol, device)


def memory_bytes(cell: Cell, channels: int, classes: int, slices: int = 0) -> float:
    """Bytes that a process with this cell takes at most on a CPU, about. slices: of the training volumes, whose labels it holds; their
    images are mapped, and all processes share them.
    """
    bank = slices * cell.protocol.image_size**2
    if issubclass(registry.load("methods", cell.method), Propagator):
        return PROCESS_BYTES + bank
    known = table()
    unknown = max(entry["memory"] for entry in known.values())  # of a plug-in: as the greediest that is known
    relative = known[cell.method]["memory"] if cell.method in known else unknown
    return PROCESS_BYTES + bank + relative * work(cell.protocol, channels, classes).kept


@cache
def _relative(name: str, hparams: str, device: str) -> float:
    """Of a plug-in: from two steps at REFERENCE on made-up slices, without registrations. hparams: as JSON, for lists have no hash."""
    method: Any = registry.load("methods", name)
    protocol = get_protocol(REFERENCE)
    volumes = [_noise(case, labelled, protocol.image_size) for case, labelled in (("a", True), ("b", False))]
    task = Task(
        4,
        1,
        protocol,
        SliceBank(volumes, protocol.image_size, torch.device(device)),
        lambda recipe: Registrations.none(volumes),
        lambda volume, recipe: [],
    )
    built = method(task, method.Hparams(**json.loads(hparams) | method.probe)).to(device)
    return step_seconds(built, protocol, 0, 2) / unit_seconds(protocol, device)


def _noise(case: str, labelled: bool, side: int) -> Volume:
    random = np.random.default_rng(0)
    image = random.random((1, 8, side, side), np.float32)
    return Volume(case, case, image, random.integers(0, 4, image.shape[1:], np.uint8) if labelled else None, (10.0, 1.0, 1.0))


def _batch(protocol: Protocol) -> int:
    return protocol.batch_labelled + protocol.batch_unlabelled
