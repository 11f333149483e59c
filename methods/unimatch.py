"""UniMatch: one weak view teaches two strong views, mixed by CutMix, and a view with perturbed features.

Yang et al., CVPR 2023; values of its ACDC recipe (github.com/LiheYoung/UniMatch, more-scenarios/medical). The whole sum is halved there and
here, RSL included where it is on. Clean and dropped-out features are decoded in one pass, both strong views in another.

Deviations: what is mixed in comes from the next slice of the batch (there: from a second stream of unlabelled slices); of the jitter
brightness comes before contrast (there: in random order).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import IGNORE, Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, tunable
from methods.parts.losses import dice_loss, most_likely
from methods.parts.views import cutmix_boxes, paste, strong_view


@dataclass(frozen=True)
class PerturbedView(View):
    """perturbed: logits (U, K, P, P) of the unlabelled slices from features with dropped channels."""

    perturbed: Tensor


@register("unimatch")
class UniMatch(OneNetwork):
    """L = 1/2 (L_sup + .25 Dice(s1) + .25 Dice(s2) + .5 Dice(perturbed features)), each against the weak view's argmax where it is sure."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("strong", "perturbed")
        strong: float = tunable(0.25, low=0.02, high=2, log=True, doc="weight of each of the two strong views")
        perturbed: float = tunable(0.5, low=0.05, high=4, log=True, doc="weight of the view with perturbed features")
        threshold: float = tunable(0.95, low=0.7, high=0.99, maximum=1, probe=0, doc="least probability of a pseudo-label")
        feature_dropout: float = tunable(0.5, low=0.1, high=0.8, maximum=0.95, doc="share of encoder channels that are dropped")

    scale: ClassVar = 0.5

    def view(self, image: Tensor, labelled: int) -> View:
        if not self.hp.learns_more:
            return super().view(image, labelled)
        size = (image.shape[-2], image.shape[-1])
        maps = self.network.encode(image)
        decoded = self.network.decoder([torch.cat([m, F.dropout2d(m, self.hp.feature_dropout)]) for m in maps])
        features, dropped = decoded[-1][..., : size[0], : size[1]].chunk(2)
        logits, perturbed = self.network.head(features, size), self.network.head(dropped[labelled:], size)
        clean = [each[: len(image)] for each in decoded]
        return PerturbedView(maps, clean, features, logits, torch.softmax(logits[labelled:], 1), perturbed)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        assert isinstance(view, PerturbedView)
        image = batch.image[batch.labelled :]
        own, partner = self._sure(view.probabilities), self._sure(self._settled(image)).roll(1, 0)
        views = [(cutmix_boxes(image), strong_view(image)) for _ in range(2)]
        mixed = self.network(torch.cat([paste(box, strong.roll(1, 0), strong) for box, strong in views])).chunk(2)
        strong = [dice_loss(torch.softmax(x, 1), paste(box, partner, own)) for x, (box, _) in zip(mixed, views, strict=True)]
        return {
            "strong_1": self.hp.strong * strong[0],
            "strong_2": self.hp.strong * strong[1],
            "perturbed": self.hp.perturbed * dice_loss(torch.softmax(view.perturbed, 1), own),
        }

    def _sure(self, probabilities: Tensor) -> Tensor:
        """The most likely class (N, P, P), IGNORE where it is less likely than the threshold."""
        confidence, label = most_likely(probabilities)
        return label.where(confidence >= self.hp.threshold, IGNORE)

    @torch.no_grad()
    def _settled(self, image: Tensor) -> Tensor:
        """The network's class probabilities in evaluation mode."""
        self.network.eval()
        probabilities = torch.softmax(self.network(image), 1)
        self.network.train()
        return probabilities
