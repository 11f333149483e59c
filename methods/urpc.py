"""URPC: a head on every level of the decoder; each follows their mean, less where it deviates much from it.

Luo et al., MICCAI 2021 (Medical Image Analysis 80, 2022); SSL4MIS code/train_uncertainty_rectified_pyramid_consistency_2D.py. Head 0, at
full resolution, is reported. The heads below it see perturbed features: dropout, feature dropout, feature noise (deepest first).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, Task, tunable
from methods.parts.losses import supervised_loss


@register("urpc")
class URPC(OneNetwork):
    """L = mean over heads of L_sup, head 0 with weight 1, others a, + w(t) mean over heads of the rectified distance to the mean output.

    Distance of head s: mean(d^2 e^-D) / mean(e^-D) + mean(D), with d its difference to the mean and D = KL(mean, head s) a pixel.
    """

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("auxiliary", "consistency")
        auxiliary: float = tunable(1, low=0.1, high=2, doc="a, weight of the supervision of each further head in the mean")
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of pyramid consistency")

    def build(self, task: Task) -> None:
        super().build(task)
        widths = task.protocol.unet_widths[-2:0:-1]
        self.heads = nn.ModuleList(nn.Conv2d(width, task.classes, 3, padding=1) for width in widths)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = super().losses(batch, step)
        weight = 1 + self.hp.auxiliary * len(self.heads)
        return terms | {name: terms[name] / weight for name in ("supervised", "auxiliary") if name in terms}

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        n, (height, width) = batch.labelled, view.logits.shape[-2:]
        levels = zip(self.heads, view.decoded[1:-1], cycle(PERTURBATIONS), strict=False)
        full = view.maps[0].shape[-2:]
        further = [F.interpolate(head(perturb(level)), full)[..., :height, :width] for head, level, perturb in levels]
        terms = {}
        if further:
            labelled = [supervised_loss(each[:n], batch.label) for each in further]
            terms["auxiliary"] = self.hp.auxiliary * torch.stack(labelled).sum()
        consistency = pyramid_consistency(torch.stack([each[n:] for each in (view.logits, *further)]))
        return terms | {"consistency": self.hp.consistency * step.ramp * consistency}


def pyramid_consistency(logits: Tensor) -> Tensor:
    """Mean over heads of the rectified distance to their mean output; logits (S, N, K, H, W) of S heads."""
    p = torch.softmax(logits, 2)
    mean = p.mean(0)
    deviation = (mean * (mean.clamp(min=1e-30).log() - torch.log_softmax(logits, 2))).sum(2)
    trust, distance = torch.exp(-deviation), ((p - mean) ** 2).mean(2)
    rectified = (distance * trust).mean((1, 2, 3)) / (trust.mean((1, 2, 3)) + 1e-8) + deviation.mean((1, 2, 3))
    return rectified.mean()


def feature_dropout(features: Tensor) -> Tensor:
    """Features (N, F, h, w) without the places whose mean over channels is above 70 to 90 % (one draw) of the slice's highest."""
    attention = features.mean(1, keepdim=True)
    share = 0.7 + 0.2 * torch.rand((), device=features.device)
    return features * (attention < share * attention.amax((2, 3), keepdim=True))


def feature_noise(features: Tensor) -> Tensor:
    """Features (N, F, h, w) times 1 + U(-.3, .3), the same for all slices."""
    return features * (0.7 + 0.6 * torch.rand_like(features[0]))


PERTURBATIONS: tuple[Callable[[Tensor], Tensor], ...] = (F.dropout, feature_dropout, feature_noise)
"""Of the heads below the first, deepest first."""
