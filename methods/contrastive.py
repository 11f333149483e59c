"""Contrastive-only: a U-Net with CCT-R's pixel contrast and neither cross-teaching nor registration.

The contrastive term of Liu et al., WACV 2025, on one network: unlabelled pixels take the network's own confident pseudo-labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.registry import register
from datasets.slices import Batch
from methods.cctr.contrast import ContrastHparams, PixelContrast, anchor_classes
from methods.losses import most_likely, supervised_loss
from methods.method import Method, Step, Task


@register("contrastive")
class Contrastive(Method):
    """L = L_sup + w_cl L_cl on one U-Net."""

    class Hparams(ContrastHparams):
        pass

    def build(self, task: Task) -> None:
        self.network = task.unet()
        if self.hp.contrast:
            self.contrast = PixelContrast([self.network.feature_width], task.classes, self.hp)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        n = batch.labelled
        features = self.network.features(batch.image if self.hp.contrast else batch.image[:n])
        logits = self.network.head(features, (batch.image.shape[-2], batch.image.shape[-1]))
        terms = {"supervised": supervised_loss(logits[:n], batch.label)}
        if self.hp.contrast:
            confidence, pseudo = most_likely(torch.softmax(logits[n:], 1))
            classes = anchor_classes(batch, pseudo, confidence, self.hp, step)
            terms["contrast"] = self.hp.contrast * self.contrast([features], [classes])
        return terms

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.network(image), 1)}
