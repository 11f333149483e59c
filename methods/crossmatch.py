"""CrossMatch: UniMatch with decoder passes of weakly and strongly perturbed features, of a weak and of a strong view.

Zhao et al., IEEE Journal of Biomedical and Health Informatics 2024 (github.com/AiEson/CrossMatch, ACDC/train_cross_match.py).

Deviations: CutMix pastes the slice before, not one of a second batch with passes of its own; views and perturbed features go through
the network one after the other, so that batch statistics are of each alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.registry import register
from datasets.slices import IGNORE, Batch
from methods.losses import most_likely
from methods.method import Step, tunable
from methods.one_network import View
from methods.unimatch import UniMatch
from methods.views import cutmix_boxes, paste, strong_view

WEAK, STRONG = 0.5, 1.5
"""Factors on the rate of dropped channels."""


@register("crossmatch")
class CrossMatch(UniMatch):
    """L = L_sup + .25 Dice(s1) + .25 Dice(s2) + .5 [(1 - eta) D1 + eta D2], on sure pixels; the sum is halved, as published.

    s1, s2: strong views with CutMix. Few or many channels of the features of the weak view and of s2 are dropped; D1: their mean Dice
    against the weak view's argmax; D2: that of s2's against the argmax of the weak view that is perturbed as much. eta = .3.
    """

    class Hparams(UniMatch.Hparams):
        same: float = tunable(
            0.3, low=0, high=1, maximum=1, doc="eta, share of what views that are perturbed alike teach each other"
        )
        feature_dropout: float = tunable(
            0.5, low=0.1, high=0.6, maximum=0.66, doc="share of encoder channels that are dropped, times 1/2 and 3/2"
        )

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        image = batch.image[batch.labelled :]
        size = (image.shape[-2], image.shape[-1])
        told = self._sure(view.probabilities)
        weak = self._perturbed([m[batch.labelled :] for m in view.maps], size)
        box, mixed = self._mixed(image)
        terms = {"strong_1": self.hp.strong * self._dice(self.network(mixed), self._pasted(box, told))}
        box, mixed = self._mixed(image)
        maps, told_2 = self.network.encode(mixed), self._pasted(box, told)
        strong = self._perturbed(maps, size)
        own = [self._pasted(box, self._sure(torch.softmax(logits, 1))) for logits in weak]
        crossed, same = self.hp.perturbed * (1 - self.hp.same) / 2, self.hp.perturbed * self.hp.same
        return terms | {
            "strong_2": self.hp.strong * self._dice(self._decode(maps, size), told_2),
            "perturbed_weak": crossed * self._mean(weak, [told, told]),
            "perturbed_strong": crossed * self._mean(strong, [told_2, told_2]) + same * self._mean(strong, own),
        }

    def _mean(self, logits: list[Tensor], labels: list[Tensor]) -> Tensor:
        return torch.stack([self._dice(*pair) for pair in zip(logits, labels, strict=True)]).mean()

    def _sure(self, probabilities: Tensor) -> Tensor:
        """Argmax (N, H, W) of (N, K, H, W), IGNORE where its probability is below the threshold."""
        confidence, label = most_likely(probabilities)
        return label.where(confidence >= self.hp.threshold, IGNORE)

    @staticmethod
    def _mixed(image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes, and strong views with those of the slices before pasted into them."""
        box, strong = cutmix_boxes(image), strong_view(image)
        return box, paste(box, strong.roll(1, 0), strong)

    @staticmethod
    def _pasted(box: Tensor, label: Tensor) -> Tensor:
        return paste(box, label.roll(1, 0), label)

    def _decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        return self.network.head(self.network.decoder(maps)[-1][..., : size[0], : size[1]], size)

    def _perturbed(self, maps: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Logits from maps of which few and of which many channels are dropped."""
        rates = [self.hp.feature_dropout * factor for factor in (WEAK, STRONG)]
        return [self._decode([F.dropout2d(m, rate) for m in maps], size) for rate in rates]
