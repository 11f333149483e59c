"""Parts of methods that have an optimiser of their own."""

from __future__ import annotations

from typing import ClassVar

from torch import nn


class TrainedByAdamW(nn.Module):
    """A part that AdamW trains, at its own rate, whatever optimises the rest: its steps do not shrink with the weight of its term.

    The rate falls over training as the protocol's does. ``check`` and the other tools that take single steps use one optimiser for all.
    """

    rate: ClassVar[float]
    decay: ClassVar[float]
