"""MC-Net+: one encoder, three decoders that upsample differently; each follows the sharpened output of the others.

Wu et al., Medical Image Analysis 81, 2022 (github.com/ycwu1997/MC-Net, code/train_mcnet_2d.py with mcnet2d_v2); not MC-Net (MICCAI 2021),
which has two decoders. The U-Net's own decoder, bilinear, is reported as there. Sharpening is theirs, of each class against the rest: where
no class passes 1/2 the target is near 0 for all. Gradients flow into targets, too.

Deviations: every decoder learns from labels by 1/2 (CE + Dice), the field's supervised term (there: Dice alone; on recorded outputs the sum
is 1.87 times theirs).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, Task, tunable
from methods.networks.unet import Decoder
from methods.parts.losses import supervised_loss


@register("mc_net")
class MCNet(OneNetwork):
    """L = sum over decoders of L_sup + w(t) sum over pairs i != j of MSE(p_i, sharpen(p_j)), on all slices."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("auxiliary", "consistency")
        auxiliary: float = tunable(1, low=0.1, high=2, doc="weight of the supervision of the two further decoders")
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of mutual consistency")
        temperature: float = tunable(
            0.1, low=0.05, high=0.5, minimum=1e-2, maximum=1, doc="of sharpening each class against the rest"
        )

    def build(self, task: Task) -> None:
        super().build(task)
        widths = task.protocol.unet_widths
        self.further = nn.ModuleList([Decoder(widths, "transposed"), Decoder(widths, "nearest")])
        self.classify = nn.ModuleList(nn.Conv2d(widths[0], task.classes, 3, padding=1) for _ in self.further)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        height, width = view.logits.shape[-2:]
        logits = [
            classify(decoder(view.maps)[-1])[..., :height, :width]
            for decoder, classify in zip(self.further, self.classify, strict=True)
        ]
        labelled = torch.stack([supervised_loss(each[: batch.labelled], batch.label) for each in logits]).sum()
        consistency = mutual_consistency([view.logits, *logits], self.hp.temperature)
        return {
            "auxiliary": self.hp.auxiliary * labelled,
            "consistency": self.hp.consistency * step.ramp * consistency,
        }


def mutual_consistency(logits: list[Tensor], temperature: float) -> Tensor:
    """Sum over pairs of the mean squared difference of one decoder's probabilities and another's, sharpened; logits: (N, K, P, P)."""
    p = [torch.softmax(each, 1) for each in logits]
    sharp = [sharpened(each, temperature) for each in p]
    return torch.stack([F.mse_loss(a, b) for i, a in enumerate(p) for j, b in enumerate(sharp) if i != j]).sum()


def sharpened(p: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / (p^(1/T) + (1 - p)^(1/T)) of each class."""
    power = 1 / temperature
    return p**power / (p**power + (1 - p) ** power)
