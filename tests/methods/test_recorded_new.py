"""CrossMatch, AD-MT, SS-Net and DC-Net against numbers recorded from the authors' code."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark import registry
from datasets.slices import Batch
from methods.method import Step, Task
from methods.one_network import View
from tests.methods.recorded import compare, labels, normal, outcome, record

HALF = Step(10, 20)


def build(make_task: Callable[..., Task], name: str, **hparams: Any) -> Any:
    torch.manual_seed(0)
    method = registry.load("methods", name)
    return method(make_task(), method.Hparams(**hparams)).train()  # type: ignore[attr-defined]


def given(seeds: range, *shape: int) -> list[Tensor]:
    """Logits of imagined networks, 3 times normal, one tensor a seed."""
    return [(3 * normal(seed, *shape)).requires_grad_() for seed in seeds]


def boxes(*places: list[int]) -> Tensor:
    """(4, 32, 32) bool: of every so many slices from the first, rows and columns inside."""
    found = torch.zeros(4, 32, 32, dtype=torch.bool)
    for first, step, top, bottom, left, right in places:
        found[first::step, top:bottom, left:right] = True
    return found


def batch_of(method: Any, label: Tensor) -> Batch:
    return replace(method.task.bank.batch(0, 0, 4, 4), label=label)


def test_crossmatch(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("crossmatch", "the whole sum, from all logits")
    method, logits, label = build(make_task, "crossmatch"), given(range(1, 9), 4, 4, 32, 32), labels(9, 4, 4, 32, 32)
    labelled, weak, strong_1, strong_2, *perturbed = logits
    drawn = iter(boxes(place) for place in known["inputs"]["boxes"])
    monkeypatch.setattr("methods.crossmatch.cutmix_boxes", lambda image: next(drawn))
    maps, decoded = [torch.zeros(8, 1, 32, 32)], iter([*perturbed, strong_2])
    method.view = lambda image, n: View(maps, [], maps[0], torch.cat([labelled, weak]), torch.softmax(weak, 1))
    method.network.forward = lambda image: strong_1
    method.network.encode = lambda image: maps
    method.network.decoder.forward = lambda maps: maps
    method.network.head = lambda features, size: next(decoded)
    loss = torch.stack([*method.losses(batch_of(method, label), HALF).values()]).sum()
    compare(known, outcome(loss, labelled, strong_1, strong_2, *perturbed), *(x.detach() for x in logits), label)
