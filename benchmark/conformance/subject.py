"""The method under test, built and trained as the harness does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.conformance.task import made_up_task
from methods.method import Method, Step, Task

STEPS = 20
"""Steps of the training of which a law runs a few."""


class Subject:
    """A method under test: builds and trains it as the harness does."""

    def __init__(self, method: type, given: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.cls: Any = method
        self.given = given

    def build(self, hparams: Mapping[str, Any] = MappingProxyType({}), task: Task | None = None, seed: int = 0) -> Any:
        """A fresh method, hparams as given here or to the subject, else at their defaults."""
        torch.manual_seed(seed)
        return self.cls(task or made_up_task(), self.cls.Hparams(**{**self.given, **hparams})).train()

    def probes(self) -> dict[str, float]:
        """Values with which terms that wait are above zero at once; see ``tunable`` and ``Segmenter.probe``."""
        return {name: extra["probe"] for name, _, extra in self.tunables() if "probe" in extra} | self.cls.probe

    def tunables(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Numeric hparams: name, field and what ``tunable`` noted."""
        for name, field in self.cls.Hparams.model_fields.items():
            if isinstance(field.json_schema_extra, dict) and "search" in field.json_schema_extra:
                yield name, field, field.json_schema_extra


def train(method: Method, steps: range = range(3), optimiser: torch.optim.Optimizer | None = None) -> list[dict[str, float]]:
    """Train as the harness does; the terms of each step."""
    optimiser = optimiser or make_optimiser(method)
    history = []
    for index in steps:
        terms = losses(method, Step(index, STEPS))
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        method.after_step(Step(index, STEPS))
        history.append({name: float(value.detach()) for name, value in terms.items()})
    return history


def make_optimiser(method: Method, scale: float = 1.0) -> torch.optim.Optimizer:
    """SGD with momentum, whose state a resumed run must get back. scale: of the sum of terms, which is that of the learning rate."""
    return torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05 * scale, momentum=0.9)


def losses(method: Method, step: Step) -> dict[str, Tensor]:
    """The method's terms on the batch of ``step``."""
    batch = method.task.bank.batch(0, step.index, 4, 4, method.augmentation)
    torch.manual_seed(100 + step.index)
    return method.losses(batch, step)


def same_state(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules' states are equal to the bit."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
