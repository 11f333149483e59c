"""The made-up task on which laws are tried: four cases whose images, masks and registrations are known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmark.ground.protocol import Protocol, get_protocol
from datasets.dataset import Volume
from datasets.registration import Candidate, Recipe, Registrations
from datasets.registration.engine import frame_of
from datasets.registration.pairs import Pair
from datasets.registration.transform import Transform
from datasets.slices import SliceBank
from methods.method import Task

DEPTH = 4
"""Slices of a volume."""


def blob_volume(
    name: str, shift: int = 0, labelled: bool = True, classes: int = 4, channels: int = 1, side: int = 32
) -> Volume:
    """Nested squares on noise, moved right by ``shift`` voxels: image (C, DEPTH, side, side)."""
    rng = np.random.default_rng(sum(map(ord, name)))
    label = np.zeros((DEPTH, side, side), np.uint8)
    for k in range(1, classes):
        half = max(1, round(0.28 * side * (1 - (k - 1) / (classes - 1))))
        middle = side // 2
        label[:, middle - half : middle + half, middle + shift - half : middle + shift + half] = k
    shape = (channels, *label.shape)
    image = (label / (classes - 1) + rng.normal(0, 0.1, shape)).astype(np.float32).clip(0, 1)
    return Volume(name, name[0], image, label if labelled else None, (10.0, 1.0, 1.0))


SHIFTS = {"a1": 0, "b1": 4, "u1": -3, "v1": 2}
"""Two labelled cases and two unlabelled ones."""


def known_registrations(volumes: list[Volume], shifts: dict[str, int]) -> Registrations:
    """The exact translations from labelled volumes to all volumes of other cases."""
    candidates = [[_candidate(i, s, t, shifts) for i, s in enumerate(volumes) if _serves(s, t)] for t in volumes]
    return Registrations(candidates, [[] for _ in volumes])


def _serves(source: Volume, target: Volume) -> bool:
    return source.label is not None and source.case != target.case


def _candidate(index: int, source: Volume, target: Volume, shifts: dict[str, int]) -> Candidate:
    affine = torch.eye(3, 4)
    affine[2, 3] = shifts[source.name] - shifts[target.name]
    transform = Transform(frame_of(source), frame_of(target), affine)
    return Candidate(index, Pair(transform, 0.1, 0.9 - 0.1 * index, 0.0, 0.0))


def made_up_task(classes: int = 4, channels: int = 1, side: int = 32, **changes: Any) -> Task:
    """A task of the smoke protocol whose true registrations are known; ``changes`` are of the protocol."""
    protocol: Protocol = get_protocol("smoke").model_copy(update={"image_size": side} | changes)
    volumes = [blob_volume(n, s, n[0] in "ab", classes, channels, side) for n, s in SHIFTS.items()]
    bank = SliceBank(volumes, protocol.image_size, torch.device("cpu"))
    labelled = [volume for volume in volumes if volume.label is not None]

    def register(volume: Volume, recipe: Recipe) -> list[Candidate]:
        return [_candidate(i, source, volume, SHIFTS) for i, source in enumerate(labelled) if source.name != volume.name]

    return Task(classes, channels, protocol, bank, lambda recipe: known_registrations(volumes, SHIFTS), register)
