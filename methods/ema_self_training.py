"""Self-training with a moving average: the teacher's argmax, tidied, is the pseudo-label of unlabelled slices.

The plain recipe under many methods; there is no single source to follow. That of each class and slice only the largest connected component
is kept, and the EMA decay, are of BCP (Bai et al., CVPR 2023), the weight and its ramp those of the field's consistency terms (SSL4MIS).
It is not the ablation "BCP without its mixing", which has a supervised warm-up and a constant weight of 1/2.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import View, WithTeacher
from methods.method import Step, tunable
from methods.parts.losses import largest_components, most_likely, supervised_loss


@register("ema_self_training")
class EMASelfTraining(WithTeacher):
    """L = L_sup + w(t) 1/2 (CE + Dice) against the teacher's tidied argmax on unlabelled slices."""

    class Hparams(WithTeacher.Hparams):
        weights: ClassVar = ("pseudo",)
        pseudo: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of pseudo-labels [choice]")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        label = largest_components(most_likely(self.taught(batch.image[batch.labelled :]))[1])
        return {"pseudo": self.hp.pseudo * step.ramp * supervised_loss(view.logits[batch.labelled :], label)}
