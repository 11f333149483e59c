"""ABD, adaptive bidirectional displacement: BCP with a second network on a strong view; unsure patches give way to sure ones.

Chi et al., CVPR 2024 (github.com/chy-upc/ABD). Known: the two views, 4 x 4 patches, the least sure patch of one view is replaced by that
of the four surest of the other whose classes are most like its own. Choices: the replaced patch brings its own pseudo-label along, and
the weight of the exchange, of which the paper, its text and its code give three values.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from benchmark.registry import register
from datasets.slices import Batch
from methods.bcp import BCP
from methods.losses import most_likely, supervised_loss
from methods.method import Step, Task, tunable
from methods.views import strong_view

GRID, SUREST = 4, 4
"""Patches along a side; how many sure patches may replace an unsure one."""


@register("abd")
class ABD(BCP):
    """L = BCP(A) + BCP(B on a strong view) + w(t) (L_sup(A, Y_B) + L_sup(B, Y_A)) on displaced unlabelled slices. A is reported."""

    class Hparams(BCP.Hparams):
        exchange: float = tunable(
            0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of the other's pseudo-labels [choice]"
        )

    reach: ClassVar = {"exchange_a": ("network",), "exchange_b": ("second",)}

    def build(self, task: Task) -> None:
        super().build(task)
        self.second = task.unet()

    def mixed_logits(self, image: Tensor) -> list[Tensor]:
        return [self.network(image), self.second(strong_view(image))]

    def mixed_terms(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = super().mixed_terms(batch, step)
        if step.fraction >= self.hp.warm_up:
            image = batch.image[batch.labelled :]
            strong = strong_view(image)
            with torch.no_grad():
                weak_p, strong_p = torch.softmax(self.network(image), 1), torch.softmax(self.second(strong), 1)
            a = self.network(displaced(image, strong, weak_p, strong_p))
            b = self.second(displaced(strong, image, strong_p, weak_p))
            told_a, told_b = self._told(weak_p, strong_p), self._told(strong_p, weak_p)
            terms["exchange_a"] = self.hp.exchange * step.ramp * supervised_loss(a, told_a)
            terms["exchange_b"] = self.hp.exchange * step.ramp * supervised_loss(b, told_b)
        return terms

    @staticmethod
    def _told(own: Tensor, other: Tensor) -> Tensor:
        """The other's argmax (N, H, W), its sure patch moved as in ``displaced``."""
        label = most_likely(other)[1][:, None]
        return displaced(label, label, own, other)[:, 0]

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return super().predictions(image) | {"second": torch.softmax(self.second(image), 1)}


def displaced(image: Tensor, other: Tensor, own_p: Tensor, other_p: Tensor) -> Tensor:
    """``image`` (N, C, H, W) with its least sure patch replaced by a sure one of ``other``.

    own_p, other_p: (N, K, H, W), probabilities that say how sure each is of its patches. Of the SUREST patches of ``other`` the one is
    taken whose mean probabilities are nearest (KL) to those of the patch that it replaces.
    """
    own_mean, other_mean = patch_means(own_p), patch_means(other_p)
    unsure = patch_means(own_p.amax(1, keepdim=True))[:, 0].argmin(1)
    sure = patch_means(other_p.amax(1, keepdim=True))[:, 0].topk(SUREST).indices
    n = torch.arange(len(image), device=image.device)
    wanted, offered = own_mean[n, :, unsure][:, None] + 1e-6, other_mean.mT[n[:, None], sure] + 1e-6
    nearest = sure[n, (wanted * (wanted / offered).log()).sum(2).argmin(1)]
    height, width = (side // GRID for side in image.shape[-2:])
    rows, columns = torch.arange(height, device=image.device)[:, None], torch.arange(width, device=image.device)
    to, source = (
        (n[:, None, None], slice(None), patch // GRID * height + rows, patch % GRID * width + columns)
        for patch in (unsure[:, None, None], nearest[:, None, None])
    )
    result = image.clone()
    result[to] = other[source]
    return result


def patch_means(maps: Tensor) -> Tensor:
    """Means (N, K, GRID * GRID) of maps (N, K, H, W) over patches."""
    return torch.nn.functional.adaptive_avg_pool2d(maps, GRID).flatten(2)
