"""Contrastive-only: a U-Net with CCT-R's pixel contrast and neither cross-teaching nor registration.

The contrastive term of Liu et al., WACV 2025, on one network: unlabelled pixels take the network's own confident pseudo-labels.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, Task
from methods.parts.contrast import Candidates, ContrastHparams, PixelContrast, anchor_classes
from methods.parts.losses import most_likely


@register("contrastive")
class Contrastive(OneNetwork):
    """L = L_sup + w_cl L_cl on one U-Net."""

    class Hparams(OneNetwork.Hparams, ContrastHparams):
        weights: ClassVar = ("contrast",)

    def build(self, task: Task) -> None:
        super().build(task)
        if self.hp.contrast:
            self.contrast = PixelContrast([self.network.feature_width], task.classes, self.hp)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        confidence, pseudo = most_likely(view.probabilities)
        classes = anchor_classes(batch, pseudo, confidence, self.hp, step)[None]
        return {"contrast": self.hp.contrast * self.contrast([view.features], Candidates(classes, batch.labelled))}
