"""Mean teacher: a student follows labels and the predictions of its own moving average.

Tarvainen & Valpola, NeurIPS 2017. Defaults: the ACDC values of SSL4MIS (code/train_mean_teacher_2D.py). The teacher sees another,
noised view and has its own dropout, so that the consistency loss is never that of an output with itself.

Deviations: the ramp rises every step, there every 150 of 30,000 (so in all methods after SSL4MIS); consistency counts from the first step,
there from step 1,000 on (before it w(t) is below .001).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import View, WithTeacher
from methods.method import Step, tunable
from methods.parts.views import noisy


@register("mean_teacher")
class MeanTeacher(WithTeacher):
    """L = L_sup + w(t) MSE(student softmax, teacher softmax of a noised view) on unlabelled slices."""

    class Hparams(WithTeacher.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")
        noise: float = tunable(0.1, low=0.02, high=0.3, doc="std of the teacher's input noise, clipped at twice that")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        target = self.taught(noisy(batch.image[batch.labelled :], self.hp.noise))
        return {"consistency": self.hp.consistency * step.ramp * F.mse_loss(view.probabilities, target)}
