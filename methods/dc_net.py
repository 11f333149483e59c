"""DC-Net: two decoders; where both are sure they learn each other's labels, elsewhere the less sure one learns the other's output.

Chen et al., MICCAI 2023 (github.com/wxfaaaaa/DCNet, code/train_dcnet_acdc.py). The second decoder upsamples by transposed convolutions; the
encoder learns to be strong where that is. What counts as sure begins at 1/K and moves to the mean confidence.

Deviations: both decoders learn from labels by 1/2 (CE + Dice), the field's supervised term (there: Dice alone).
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
from methods.parts.losses import cross_entropy, most_likely, supervised_loss

LEAST, MOST = 0.25, 0.95
"""Of the threshold; when both decoders' mean confidence is above the latter every pixel is sure."""


@register("dc_net")
class DCNet(OneNetwork):
    """L = L_sup of both + (1 - w) 1000 L_at + w 1000 L_dc + .3 L_ce, w = w(t), on all slices. The U-Net's own decoder is reported.

    L_at: sum over levels of the MSE of encoder and decoder 2, of each the mean squares over channels as a unit vector a slice.
    L_dc: sum of the MSEs of each decoder's softmax(logits / T) to the other's, over classes and pixels where the other is surer and not
    both are sure. L_ce: sum of the cross-entropies of each decoder to the other's argmax, both 0 where not both are sure.
    """

    threshold: Tensor

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("auxiliary", "decoupled", "cross")
        auxiliary: float = tunable(1, low=0.1, high=2, doc="weight of the supervision of the second decoder")
        decoupled: float = tunable(
            1000, low=10, high=1e4, log=True, doc="weight of attention, which weighs more on small slices, and consistency"
        )
        consistency: float = tunable(
            0.1, low=0.01, high=1, log=True, maximum=1, doc="ceiling of w, the share of consistency in it"
        )
        cross: float = tunable(0.3, low=0.03, high=3, log=True, doc="weight of the cross-entropies on sure pixels")
        temperature: float = tunable(0.5, low=0.1, high=1, minimum=1e-2, maximum=1, doc="T of the surer decoder's output")

    def build(self, task: Task) -> None:
        super().build(task)
        widths = task.protocol.unet_widths
        self.second = Decoder(widths, "transposed")
        self.classify = nn.Conv2d(widths[0], task.classes, 3, padding=1)
        self.register_buffer("threshold", torch.tensor(1 / task.classes))

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        n, (height, width) = batch.labelled, view.logits.shape[-2:]
        decoded = self.second(view.maps)
        logits = (view.logits, self.classify(decoded[-1])[..., :height, :width])
        share = self.hp.consistency * step.ramp
        p = [torch.softmax(each, 1) for each in logits]
        sure, everywhere = self._sure(p, step)
        attention = [F.mse_loss(_attention(a), _attention(b).detach()) for a, b in zip(view.maps, decoded[:0:-1], strict=False)]
        sharp = [torch.softmax(each / self.hp.temperature, 1) for each in logits]
        cross, consistency = [], []
        for own, other in ((0, 1), (1, 0)):
            learns = ~sure & (p[own] < p[other])
            consistency.append(F.mse_loss(learns * sharp[own], learns * sharp[other].detach()))
            cross.append(cross_entropy((sure | everywhere) * logits[own], most_likely((sure | everywhere) * p[other])[1]))
        return {
            "auxiliary": self.hp.auxiliary * supervised_loss(logits[1][:n], batch.label),
            "attention": (1 - share) * self.hp.decoupled * torch.stack(attention).sum(),
            "consistency": share * self.hp.decoupled * torch.stack(consistency).sum(),
            "cross": self.hp.cross * torch.stack(cross).sum(),
        }

    @torch.no_grad()
    def _sure(self, p: list[Tensor], step: Step) -> tuple[Tensor, Tensor]:
        """Where both probabilities (N, K, P, P) are above the threshold, which moves first; whether all pixels count as sure."""
        done = (step.index + 1) / step.total
        confidence = torch.stack([most_likely(each)[0].mean() for each in p]).min().to(self.threshold.dtype)
        self.threshold.copy_(torch.lerp(self.threshold, confidence, done).clamp(LEAST, MOST))
        return (p[0] > self.threshold) & (p[1] > self.threshold), confidence >= MOST


def _attention(maps: Tensor) -> Tensor:
    """Mean squares over channels of maps (N, F, h, w), as vectors of length 1 (N, h w)."""
    return F.normalize((maps**2).mean(1).flatten(1))
