"""UniMatch: one weak view teaches two strong views, mixed by CutMix, and a view with perturbed features.

Yang et al., CVPR 2023; values of its ACDC recipe (github.com/LiheYoung/UniMatch, more-scenarios/medical). The whole sum is halved, as
there (phantom at `quick`, 1 / 3 / 7 labelled, 2 runs: 44 / 79 / 80 DSC with it, 36 / 59 / 85 without).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.registry import register
from datasets.slices import IGNORE, Batch
from methods.losses import dice_loss, most_likely
from methods.method import Step, tunable
from methods.one_network import OneNetwork, View
from methods.views import cutmix_boxes, paste, strong_view


@register("unimatch")
class UniMatch(OneNetwork):
    """L = L_sup + .25 Dice(s1) + .25 Dice(s2) + .5 Dice(perturbed features), each against the weak view's argmax where it is sure."""

    scale: ClassVar = 0.5

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("strong", "perturbed")
        strong: float = tunable(0.25, low=0.02, high=2, log=True, doc="weight of each of the two strong views")
        perturbed: float = tunable(0.5, low=0.05, high=4, log=True, doc="weight of the view with perturbed features")
        threshold: float = tunable(0.95, low=0.7, high=0.99, maximum=1, probe=0, doc="least probability of a pseudo-label")
        feature_dropout: float = tunable(0.5, low=0.1, high=0.8, maximum=0.95, doc="share of encoder channels that are dropped")

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {name: self.scale * term for name, term in super().losses(batch, step).items()}

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        image = batch.image[batch.labelled :]
        confidence, label = most_likely(view.probabilities)
        label = label.where(confidence >= self.hp.threshold, IGNORE)
        terms = {}
        for name in ("strong_1", "strong_2"):
            box, strong = cutmix_boxes(image), strong_view(image)
            mixed = paste(box, strong.roll(1, 0), strong)
            terms[name] = self.hp.strong * self._dice(self.network(mixed), paste(box, label.roll(1, 0), label))
        maps = [F.dropout2d(m[batch.labelled :], self.hp.feature_dropout) for m in view.maps]
        size = (image.shape[-2], image.shape[-1])
        features = self.network.decoder(maps)[-1][..., : size[0], : size[1]]
        terms["perturbed"] = self.hp.perturbed * self._dice(self.network.head(features, size), label)
        return terms

    @staticmethod
    def _dice(logits: Tensor, label: Tensor) -> Tensor:
        return dice_loss(torch.softmax(logits, 1), label)
