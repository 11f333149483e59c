"""UA-MT: a mean teacher whose consistency counts only where the teacher is sure.

Yu et al., MICCAI 2019. Defaults: the ACDC values of SSL4MIS (code/train_uncertainty_aware_mean_teacher_2D.py).

Deviations: the entropy's maximum is ln C for C classes, where that code has the ln 2 of the binary case: with four classes and recorded
outputs 4.46 times as many pixels count and the term is .778 of theirs (at the end of training nearly all count: then it is a mean teacher
with twice the weight); the T noisy passes are one batch, there batches of two.
"""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import View
from methods.mean_teacher import MeanTeacher
from methods.method import Step, tunable
from methods.parts.views import noisy


@register("ua_mt")
class UncertaintyAwareMeanTeacher(MeanTeacher):
    """L = L_sup + w(t) mean of 1/2 |student - teacher|^2 over pixels where the entropy of the mean of T noisy teacher passes is low.

    Low: below (s + (1 - s) ramp) ln C, s = 3/4.
    """

    class Hparams(MeanTeacher.Hparams):
        weights: ClassVar = ("consistency",)
        threshold: float = tunable(
            0.75, low=0.5, high=1, maximum=1, probe=1, doc="s, the first threshold as a share of the highest entropy"
        )
        passes: int = Field(8, ge=1, le=32, description="T, noisy passes of the teacher that estimate its uncertainty")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        image = batch.image[batch.labelled :]
        target = self.taught(noisy(image, self.hp.noise))
        sampled = self.taught(noisy(image.repeat(self.hp.passes, 1, 1, 1), self.hp.noise))
        mean = sampled.view(self.hp.passes, *target.shape).mean(0)
        entropy = -(mean * (mean + 1e-6).log()).sum(1)
        limit = self.hp.threshold + (1 - self.hp.threshold) * step.ramp
        sure = (entropy < limit * math.log(mean.shape[1])).to(entropy.dtype)
        distance = ((view.probabilities - target) ** 2).sum(1) / 2
        return {"consistency": self.hp.consistency * step.ramp * (distance * sure).sum() / sure.sum().clamp(min=1)}
