"""Supervised: labelled slices only; the lower bound at a budget, the upper bound with all labels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.method import Method, Step, Task
from methods.parts.losses import supervised_loss


@register("supervised")
class Supervised(Method):
    """One U-Net, L = 1/2 (CE + Dice). It gets the same steps, batches and augmentation as every other method."""

    class Hparams(Method.Hparams):
        augmentation: Literal["protocol", "strong"] = Field(
            "protocol",
            description="the protocol's, as all methods have it, or nnU-Net's, which asks what labels alone can reach",
        )

    @property
    def augmentation(self) -> Literal["weak", "strong"]:
        return "strong" if self.hp.augmentation == "strong" else super().augmentation

    def build(self, task: Task) -> None:
        self.network = task.unet()

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"supervised": supervised_loss(self.network(batch.image[: batch.labelled]), batch.label)}

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.network(image), 1)}
