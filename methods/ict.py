"""ICT, interpolation consistency: the output for a mix of two slices is the mix of the teacher's outputs for them.

Verma et al., IJCAI 2019 (Neural Networks 145, 2022). Defaults: the ACDC values of SSL4MIS
(code/train_interpolation_consistency_training_2D.py): the first half of the unlabelled slices is mixed with the second, each pair by its
own share, and the student sees the mixes alone.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.devices import to_device
from datasets.slices import Batch
from methods.bases.one_network import View, WithTeacher
from methods.method import Step, tunable
from methods.parts.losses import supervised_loss


@register("ict")
class InterpolationConsistency(WithTeacher):
    """L = L_sup + w(t) MSE(student((1 - lam) a + lam b), (1 - lam) teacher(a) + lam teacher(b)), lam from Beta(alpha, alpha)."""

    class Hparams(WithTeacher.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")
        alpha: float = tunable(
            0.2, low=0.05, high=2, log=True, minimum=1e-3, doc="of the Beta distribution of the share of each"
        )

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        if not self.hp.consistency:
            return super().losses(batch, step)
        labelled, unlabelled = batch.image[: batch.labelled], batch.image[batch.labelled :]
        pairs = (len(unlabelled) + 1) // 2
        first, second = unlabelled[:pairs], unlabelled[-pairs:]
        share = torch.distributions.Beta(self.hp.alpha, self.hp.alpha, validate_args=False).sample((pairs, 1, 1, 1))
        share = to_device(share, unlabelled.device)
        view = self.view(torch.cat([labelled, torch.lerp(first, second, share)]), batch.labelled)
        one, other = self.taught(first), self.taught(second)
        target = torch.lerp(one, other, share.to(one))  # of one kind in half precision, too
        terms = {"supervised": supervised_loss(view.logits[: batch.labelled], batch.label)}
        terms["consistency"] = self.hp.consistency * step.ramp * F.mse_loss(view.probabilities, target)
        return terms | self.registered(batch, step)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {}
