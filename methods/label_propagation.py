"""Label propagation: no learning; every volume gets the labels that registration carries over from the labelled ones.

The control that a method with registration must beat: what it does without a network. Warps and votes are those of RSL.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.ground.registry import register
from datasets.dataset import Volume
from datasets.registration import Fusion, Recipe
from datasets.slices import IGNORE
from methods.method import Propagator, Task
from methods.registered.rsl import TransformHparams


@register("label_propagation")
class LabelPropagation(Propagator):
    """The vote of the best registered labelled volumes, weighted by local similarity; or the label of the best one alone."""

    class Hparams(TransformHparams):
        source: Literal["vote", "similarity"] = Field(
            "vote", description="vote of the registered volumes, or the one with the best similarity"
        )

        @property
        def used_recipe(self) -> Recipe:
            return self.recipe

    def build(self, task: Task) -> None:
        self.fusion = Fusion([v for v in task.bank.volumes if v.label is not None])

    def segment(self, volume: Volume) -> dict[str, Tensor]:
        found = self.task.register(volume, self.hp.recipe)
        if not found:
            return {"propagated": torch.zeros(volume.image.shape[1:], dtype=torch.uint8)}
        label = self.fusion(found if self.hp.source == "vote" else found[:1], volume).label
        return {"propagated": label.where(label != IGNORE, 0)}
