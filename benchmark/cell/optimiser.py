"""The optimiser of a cell: the protocol's SGD, and AdamW for the parts of a method that ask for it, under one schedule."""

from __future__ import annotations

from typing import Any

import torch

from benchmark.ground.protocol import Protocol
from methods.method import Method, Step
from methods.networks.adamw import TrainedByAdamW

FUSED = ("cpu", "cuda")
"""Devices on which AdamW is one kernel, which waits for nothing."""


class Optimiser:
    """One step for all weights of a method. Rates fall as (1 - t/T) ** ``protocol.power``."""

    def __init__(self, method: Method, protocol: Protocol) -> None:
        own = [part for part in method.modules() if isinstance(part, TrainedByAdamW)]
        groups: list[dict[str, Any]] = [
            {"params": list(part.parameters()), "lr": part.rate, "peak": part.rate, "weight_decay": part.decay} for part in own
        ]
        theirs = {id(parameter) for part in own for parameter in part.parameters()}
        rest = [p for p in method.parameters() if p.requires_grad and id(p) not in theirs]
        rate = protocol.learning_rate * method.hp.learning_rate
        sgd = torch.optim.SGD(
            [{"params": rest, "peak": rate}], lr=rate, momentum=protocol.momentum, weight_decay=protocol.weight_decay
        )
        fused = all(parameter.device.type in FUSED for group in groups for parameter in group["params"])
        self.parts: list[torch.optim.Optimizer] = [sgd, *([torch.optim.AdamW(groups, fused=fused)] if groups else [])]
        self.power = protocol.power

    def schedule(self, step: Step) -> None:
        """Set the rates of this step."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["peak"] * (1 - step.fraction) ** self.power

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move all weights."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[str(number)])
