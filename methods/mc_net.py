"""MC-Net+: one encoder, three decoders that upsample differently; each follows the sharpened output of the others.

Wu et al., Medical Image Analysis 81, 2022. Temperature .1 and w(t) as there; the reported decoder is the U-Net's own (transposed
convolutions). Every decoder learns from labels by 1/2 (CE + Dice), the field's supervised term, where the paper has Dice alone.
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
from methods.networks.unet import Decoder
from methods.one_network import OneNetwork, View


@register("mc_net")
class MCNet(OneNetwork):
    """L = sum over decoders of L_sup + w(t) sum over pairs i != j of MSE(p_i, sharpen(p_j)), on all slices."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("auxiliary", "consistency")
        auxiliary: float = tunable(1, low=0.1, high=2, doc="weight of the supervision of the two further decoders")
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of mutual consistency")
        temperature: float = tunable(0.1, low=0.05, high=0.5, minimum=1e-2, maximum=1, doc="of sharpening p^(1/T)")

    def build(self, task: Task) -> None:
        super().build(task)
        widths = task.protocol.unet_widths
        self.further = nn.ModuleList([Decoder(widths, "bilinear"), Decoder(widths, "nearest")])
        self.classify = nn.ModuleList(nn.Conv2d(widths[0], task.classes, 3, padding=1) for _ in self.further)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        height, width = view.logits.shape[-2:]
        logits = [
            classify(decoder(view.maps)[-1])[..., :height, :width]
            for decoder, classify in zip(self.further, self.classify, strict=True)
        ]
        labelled = torch.stack([supervised_loss(each[: batch.labelled], batch.label) for each in logits]).sum()
        p = [torch.softmax(each, 1) for each in (view.logits, *logits)]
        sharp = [F.normalize(each.detach() ** (1 / self.hp.temperature), p=1, dim=1) for each in p]
        pairs = [F.mse_loss(p[i], sharp[j]) for i in range(3) for j in range(3) if i != j]
        return {
            "auxiliary": self.hp.auxiliary * labelled,
            "consistency": self.hp.consistency * step.ramp * torch.stack(pairs).sum(),
        }
