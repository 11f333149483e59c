"""Teachers: exponential moving averages of a student."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from methods.method import Step


def make_teacher(student: nn.Module) -> nn.Module:
    """A copy of ``student`` that takes no gradients."""
    return copy.deepcopy(student).requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float, step: Step) -> None:
    """theta' <- a theta' + (1 - a) theta with a = min(1 - 1/(t+1), decay); buffers (batch-norm statistics) are copied.

    Tarvainen & Valpola, NeurIPS 2017, eq. 1; the early average is the true mean. Public code often forgets the buffers.
    """
    alpha = min(1 - 1 / (step.index + 1), decay)
    averages: list[Tensor] = list(teacher.parameters())
    torch._foreach_lerp_(averages, list(student.parameters()), 1 - alpha)
    kept: list[Tensor] = list(teacher.buffers())
    torch._foreach_copy_(kept, list(student.buffers()))
