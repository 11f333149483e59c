"""What methods and the harness ask of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A segmentation network in two parts: ``features`` of images, and the ``head`` that turns them into class logits."""

    feature_width: int
    """Channels of ``features``."""

    @property
    @abstractmethod
    def stem(self) -> nn.Module:
        """The part that every pass of images goes through once."""

    @abstractmethod
    def features(self, image: Tensor) -> Tensor:
        """The last decoder map (N, feature_width, h, w) of images (N, channels, H, W) of any size."""

    @abstractmethod
    def head(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Class logits (N, classes, *size) from ``features`` of images of that size."""

    def forward(self, image: Tensor) -> Tensor:
        """Class logits (N, classes, H, W)."""
        return self.head(self.features(image), (image.shape[-2], image.shape[-1]))
