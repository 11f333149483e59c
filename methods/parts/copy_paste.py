"""What copy-paste methods share: the loss of mixed slices, and how long labelled ones are mixed with each other alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datasets.slices import IGNORE
from methods.method import Step, Task
from methods.parts.losses import most_likely, supervised_loss

EVERY = 10
"""Steps between two looks, each of which waits for the device."""


class WarmUp(nn.Module):
    """Over after ``share`` of the steps and once each class that labelled slices hold was found there by the network; at 0 at once.

    In short training the share ends before rare classes occur in the output, and pseudo-labels without them would keep it so. The state
    lives on the CPU, as extra state: asking costs no wait.
    """

    def __init__(self, task: Task, share: float) -> None:
        super().__init__()
        self.share = share
        self.classes = task.classes
        held = task.bank.label[task.bank.labelled].unique().tolist() if share else []
        self.missing = set(held) - {IGNORE}

    @property
    def over(self) -> bool:
        """Whether the second phase has begun."""
        return not self.missing

    @torch.no_grad()
    def look(self, logits: Tensor, label: Tensor, step: Step) -> None:
        """Note the classes found in labelled slices, every tenth step after the share. logits: (N, K, P, P); label: (N, P, P)."""
        done = step.index + 1
        if done % EVERY == 0 and done >= self.share * step.total:
            self.missing -= set(label[most_likely(logits)[1] == label].unique().tolist())

    def get_extra_state(self) -> Tensor:
        return torch.tensor([k in self.missing for k in range(self.classes)])

    def set_extra_state(self, state: Tensor) -> None:
        self.missing = {k for k, missing in enumerate(state.tolist()) if missing}


def mix_loss(logits: Tensor, first: Tensor, label: Tensor, other: Tensor, weight: float) -> Tensor:
    """Supervision of the part ``first`` (N, P, P) of mixed slices by ``label``, and ``weight`` times that of the rest by ``other``."""
    return supervised_loss(logits, label.where(first, IGNORE)) + weight * supervised_loss(logits, other.where(~first, IGNORE))
