"""Mean teacher: a student follows labels and the predictions of its own moving average.

Tarvainen & Valpola, NeurIPS 2017. Defaults: the ACDC values of SSL4MIS (code/train_mean_teacher_2D.py). The teacher sees another,
noised view and has its own dropout, so that the consistency loss is never that of an output with itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.registry import register
from datasets.slices import Batch
from methods.cctr.rsl import RegistrationHparams, RegistrationSupervision
from methods.ema import make_teacher, update_teacher
from methods.losses import most_likely, supervised_loss
from methods.method import Method, Step, Task, tunable


@register("mean_teacher")
class MeanTeacher(Method):
    """L = L_sup + w(t) MSE(student softmax, teacher softmax of a noised view) on unlabelled slices."""

    class Hparams(RegistrationHparams):
        ema_decay: float = tunable(0.99, low=0.9, high=0.999, maximum=1, doc="teacher's decay per step")
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")
        noise: float = tunable(0.1, low=0.02, high=0.3, doc="std of the teacher's input noise, clipped at twice that")

        @property
        def needs_unlabelled(self) -> bool:
            """Whether any term looks at unlabelled slices."""
            return self.consistency > 0 or self.rsl

    def build(self, task: Task) -> None:
        self.student = task.unet()
        self.teacher = make_teacher(self.student)
        if self.hp.rsl:
            self.rsl = RegistrationSupervision(task, self.hp)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        used = len(batch.image) if self.hp.needs_unlabelled else batch.labelled
        logits = self.student(batch.image[:used])
        probabilities = torch.softmax(logits[batch.labelled :], 1)
        terms = {"supervised": supervised_loss(logits[: batch.labelled], batch.label)}
        if self.hp.consistency:
            unlabelled = batch.image[batch.labelled :]
            noise = (torch.randn_like(unlabelled) * self.hp.noise).clamp(-2 * self.hp.noise, 2 * self.hp.noise)
            with torch.no_grad():
                target = torch.softmax(self.teacher(unlabelled + noise), 1)
            terms["consistency"] = self.hp.consistency * step.ramp * F.mse_loss(probabilities, target)
        if self.hp.rsl:
            terms["rsl"] = self.rsl([logits[batch.labelled :]], batch, most_likely(probabilities)[1], step)
        return terms

    def after_step(self, step: Step) -> None:
        update_teacher(self.teacher, self.student, self.hp.ema_decay, step)

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"student": torch.softmax(self.student(image), 1), "teacher": torch.softmax(self.teacher(image), 1)}
