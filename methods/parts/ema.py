"""Teachers: exponential moving averages of a student."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from methods.method import Step

PUBLISHED_STEPS, LEAST = 30_000, 10
"""Steps of the training that a published decay is of; the shortest horizon that a shorter training gives it, in steps."""


def effective_decay(decay: float, steps: int) -> float:
    """The decay per step with which a training of ``steps`` averages over the same share of itself as ``decay`` does in the published one.

    Decay a has a horizon of 1 / (1 - a) steps: .99 that of 100 in 30,000, and of 10 (the least) in 400. Where both were tried (phantom,
    `quick`, 3 labelled, last validation DSC) neither won: mean teacher, five runs, .818 with .9 and .828 with .99
    (differences -.06, .02, -.02, 0, .02); self-training, two runs, .84 .87 and .81 .88. So the rule is what makes a short training mean the
    same as a long one.
    """
    horizon = 1 / max(1 - decay, 1e-12)
    return 1 - 1 / max(horizon * steps / PUBLISHED_STEPS, min(horizon, LEAST))


def make_teacher(student: nn.Module) -> nn.Module:
    """A copy of ``student`` that takes no gradients."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float, step: Step) -> None:
    """theta' <- a theta' + (1 - a) theta with a = min(1 - 1/(t+1), effective decay), of weights and the statistics that belong to them.

    Tarvainen & Valpola, NeurIPS 2017, eq. 1; the early average is the true mean. Running statistics of batch normalisation are averaged
    like weights (BCP's code does; copied ones would not fit weights that lag, and most public code forgets them); counters are copied.
    """
    alpha = min(1 - 1 / (step.index + 1), effective_decay(decay, step.total))
    pairs = list(zip(teacher.state_dict().values(), student.state_dict().values(), strict=True))
    averages: list[Tensor] = [kept for kept, _ in pairs if kept.is_floating_point()]
    torch._foreach_lerp_(averages, [new for _, new in pairs if new.is_floating_point()], 1 - alpha)
    for kept, new in pairs:
        if not kept.is_floating_point():
            kept.copy_(new)
