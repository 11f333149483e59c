"""ICT, interpolation consistency: the output for a mix of two slices is the mix of the teacher's outputs for them.

Verma et al., IJCAI 2019 (Neural Networks 145, 2022). Defaults: the ACDC values of SSL4MIS
(code/train_interpolation_consistency_training_2D.py). Each unlabelled slice is mixed with the next one of the batch.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.registry import register
from datasets.devices import to_device
from datasets.slices import Batch
from methods.method import Step, tunable
from methods.one_network import View, WithTeacher


@register("ict")
class InterpolationConsistency(WithTeacher):
    """L = L_sup + w(t) MSE(student(lam a + (1 - lam) b), lam teacher(a) + (1 - lam) teacher(b)), lam from Beta(alpha, alpha)."""

    class Hparams(WithTeacher.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")
        alpha: float = tunable(
            0.2, low=0.05, high=2, log=True, minimum=1e-3, doc="of the Beta distribution of the share of each"
        )

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        image = batch.image[batch.labelled :]
        share = to_device(torch.distributions.Beta(self.hp.alpha, self.hp.alpha, validate_args=False).sample(), image.device)
        taught = self.taught(image)
        mixed = torch.softmax(self.network(torch.lerp(image.roll(1, 0), image, share)), 1)
        target = torch.lerp(taught.roll(1, 0), taught, share)
        return {"consistency": self.hp.consistency * step.ramp * F.mse_loss(mixed, target)}
