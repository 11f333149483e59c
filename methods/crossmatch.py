"""CrossMatch: UniMatch with decoder passes of weakly and strongly perturbed features, of a weak and of a strong view.

Zhao et al., IEEE Journal of Biomedical and Health Informatics 2024 (github.com/AiEson/CrossMatch, ACDC/train_cross_match.py). Clean and
perturbed features are decoded in one pass, as there.

Deviations: what is mixed in comes from the slice before in the batch (there: from a second stream of unlabelled slices).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import View
from methods.method import Step, tunable
from methods.parts.losses import dice_loss
from methods.parts.views import cutmix_boxes, paste, strong_view
from methods.unimatch import PerturbedView, UniMatch

WEAK, STRONG = 0.5, 1.5
"""Factors on the rate of dropped channels."""


@register("crossmatch")
class CrossMatch(UniMatch):
    """L = 1/2 (L_sup + .25 Dice(s1) + .25 Dice(s2) + .5 [(1 - eta) D1 + eta D2]), on sure pixels.

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

    def view(self, image: Tensor, labelled: int) -> View:
        if not self.hp.learns_more:
            return super().view(image, labelled)
        n, maps = len(image), self.network.encode(image)
        decoded = self.network.decoder(self._perturbed(maps, labelled))
        features = decoded[-1][..., : image.shape[-2], : image.shape[-1]]
        logits = self.network.head(features, (image.shape[-2], image.shape[-1]))
        p = torch.softmax(logits[labelled:n], 1)
        return PerturbedView(maps, [each[:n] for each in decoded], features[:n], logits[:n], p, logits[n:])

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        assert isinstance(view, PerturbedView)
        image = batch.image[batch.labelled :]
        views = [(cutmix_boxes(image), strong_view(image)) for _ in range(2)]
        maps = self.network.encode(torch.cat([paste(box, strong.roll(1, 0), strong) for box, strong in views]))
        features = self.network.decoder(self._perturbed(maps, len(image)))[-1][..., : image.shape[-2], : image.shape[-1]]
        strong = self.network.head(features, (image.shape[-2], image.shape[-1])).chunk(4)
        weak, label = view.perturbed.chunk(2), self._sure(view.probabilities)
        told = [_pasted(box, label) for box, _ in views]
        alike = [_pasted(views[1][0], self._sure(torch.softmax(logits, 1))) for logits in weak]
        crossed, same = self.hp.perturbed * (1 - self.hp.same) / 2, self.hp.perturbed * self.hp.same
        return {
            "strong_1": self.hp.strong * _mean_dice(strong[:1], told[:1]),
            "strong_2": self.hp.strong * _mean_dice(strong[1:2], told[1:]),
            "perturbed_weak": crossed * _mean_dice(weak, [label, label]),
            "perturbed_strong": crossed * _mean_dice(strong[2:], [told[1], told[1]]) + same * _mean_dice(strong[2:], alike),
        }

    def _perturbed(self, maps: list[Tensor], first: int) -> list[Tensor]:
        """The maps (N, F, h, w), and of slices from ``first`` on those of which few, then those of which many channels are dropped."""
        rates = [self.hp.feature_dropout * factor for factor in (WEAK, STRONG)]
        return [torch.cat([m, *(F.dropout2d(m[first:], rate) for rate in rates)]) for m in maps]


def _pasted(box: Tensor, label: Tensor) -> Tensor:
    return paste(box, label.roll(1, 0), label)


def _mean_dice(logits: Sequence[Tensor], labels: list[Tensor]) -> Tensor:
    return torch.stack([dice_loss(torch.softmax(x, 1), y) for x, y in zip(logits, labels, strict=True)]).mean()
