"""Parts of methods that tell the history about their latest step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class Observed(nn.Module, ABC):
    """A part of a method that has more to tell than a term; it is asked at steps that are logged, and may then wait for the device."""

    @abstractmethod
    def observations(self) -> dict[str, float]:
        """Numbers about the latest step, by columns of ``history.csv`` that have a "/" in their name."""
