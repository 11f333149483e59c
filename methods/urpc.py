"""URPC: a head on every level of the decoder; each follows their mean, less where it deviates much from it.

Luo et al., MICCAI 2021 (Medical Image Analysis 80, 2022); SSL4MIS code/train_uncertainty_rectified_pyramid_consistency_2D.py. Head 0, at
full resolution, is reported.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.registry import register
from datasets.slices import Batch
from methods.losses import supervised_loss
from methods.method import Step, Task, tunable
from methods.one_network import OneNetwork, View


@register("urpc")
class URPC(OneNetwork):
    """L = L_sup(head 0) + mean of L_sup of the other heads + w(t) mean over heads of the rectified distance to the mean output.

    Distance of head s: mean(d^2 e^-D) / mean(e^-D) + mean(D), with d its difference to the mean and D = KL(mean, head s) a pixel.
    """

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("auxiliary", "consistency")
        auxiliary: float = tunable(1, low=0.1, high=2, doc="weight of the supervision of the further heads")
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of pyramid consistency")

    def build(self, task: Task) -> None:
        super().build(task)
        widths = task.protocol.unet_widths[-2:0:-1]
        self.heads = nn.ModuleList(nn.Conv2d(width, task.classes, 3, padding=1) for width in widths)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        n, (height, width) = batch.labelled, view.logits.shape[-2:]
        full = view.maps[0].shape[-2:]
        further = [
            F.interpolate(head(level), full, mode="bilinear", align_corners=False)[..., :height, :width]
            for head, level in zip(self.heads, view.decoded[1:-1], strict=True)
        ]
        terms = {}
        if further:
            labelled = [supervised_loss(each[:n], batch.label) for each in further]
            terms["auxiliary"] = self.hp.auxiliary * torch.stack(labelled).mean()
        p = torch.stack([torch.softmax(each[n:], 1) for each in (view.logits, *further)])
        mean = p.mean(0)
        deviation = (mean * ((mean + 1e-6).log() - (p + 1e-6).log())).sum(2)
        trust, distance = torch.exp(-deviation), ((p - mean) ** 2).mean(2)
        rectified = (distance * trust).mean((1, 2, 3)) / trust.mean((1, 2, 3)) + deviation.mean((1, 2, 3))
        return terms | {"consistency": self.hp.consistency * step.ramp * rectified.mean()}
