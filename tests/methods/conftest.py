"""A small task: real networks of the smoke protocol on a few made-up volumes, with transforms that are known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmark.protocol import get_protocol
from datasets.dataset import Volume
from datasets.registration import Candidate, Registrations
from datasets.registration.engine import frame_of
from datasets.registration.pairs import Pair
from datasets.registration.transform import Transform
from datasets.slices import SliceBank
from methods.method import Task

DEPTH, SIDE = 4, 32


def blob_volume(name: str, labelled: bool, shift: int = 0, seed: int = 0) -> Volume:
    """Three nested blocks on noise, moved right by ``shift`` voxels."""
    rng = np.random.default_rng(seed)
    label = np.zeros((DEPTH, SIDE, SIDE), np.uint8)
    for k, half in ((1, 9), (2, 6), (3, 3)):
        label[:, 16 - half : 16 + half, 16 + shift - half : 16 + shift + half] = k
    image = (label / 3 + rng.normal(0, 0.1, label.shape)).astype(np.float32).clip(0, 1)
    return Volume(name, name[0], image[None], label if labelled else None, (10.0, 1.0, 1.0))


def known_registrations(volumes: list[Volume], shifts: dict[str, int]) -> Registrations:
    """The exact translations between volumes of different cases, from labelled ones to all."""
    candidates: list[list[Candidate]] = []
    for target in volumes:
        found = []
        for index, source in enumerate(volumes):
            if source.label is not None and source.case != target.case:
                affine = torch.eye(3, 4)
                affine[2, 3] = shifts[source.name] - shifts[target.name]
                transform = Transform(frame_of(source), frame_of(target), affine)
                found.append(Candidate(index, Pair(transform, 0.1, 0.9 - 0.1 * index, 0.0, 0.0)))
        candidates.append(found)
    return Registrations(candidates, [[] for _ in volumes])


SHIFTS = {"a1": 0, "b1": 4, "u1": -3, "v1": 2}


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Builds the task anew: two labelled cases, two unlabelled ones; ``poison`` has no effect unless masks leak."""

    def make(**changes: object) -> Task:
        protocol = get_protocol("smoke").model_copy(update=changes)
        volumes = [blob_volume(n, n[0] in "ab", s, i) for i, (n, s) in enumerate(SHIFTS.items())]
        bank = SliceBank(volumes, protocol.image_size, torch.device("cpu"))
        return Task(4, 1, protocol, bank, lambda recipe: known_registrations(volumes, SHIFTS), lambda volume, recipe: [])

    return make
