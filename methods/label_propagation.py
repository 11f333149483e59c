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
from datasets.registration import Recipe, vote_by_similarity, warp_label
from datasets.slices import IGNORE, tensor_of
from methods.method import Propagator, Task
from methods.registered.rsl import TransformHparams


@register("label_propagation")
class LabelPropagation(Propagator):
    """The vote of the best registered labelled volumes, weighted by similarity; or the label of the best one alone."""

    class Hparams(TransformHparams):
        source: Literal["vote", "similarity"] = Field(
            "vote", description="vote of the registered volumes, or the one with the best similarity"
        )

        @property
        def used_recipe(self) -> Recipe:
            return self.recipe

    def build(self, task: Task) -> None:
        self.labels = [tensor_of(v.label) for v in task.bank.volumes if v.labelled]

    def segment(self, volume: Volume) -> dict[str, Tensor]:
        found = self.task.register(volume, self.hp.recipe)
        if not found:
            return {"propagated": torch.zeros(volume.shape, dtype=torch.uint8)}
        found = found if self.hp.source == "vote" else found[:1]
        labels = [warp_label(c.transform, self.labels[c.source]) for c in found]
        label, _ = vote_by_similarity(labels, [c.similarity for c in found])
        return {"propagated": label.where(label != IGNORE, 0)}
