"""FixMatch: a confident prediction on the weak view is the pseudo-label of a strong view; the rest is ignored.

Sohn et al., NeurIPS 2020; scale and weights of SSL4MIS (code/train_fixmatch_standard_augs.py), where both terms are CE + Dice.

Deviations: confidence is the largest probability, and pixels below the threshold take no part (there, scores are divided by the highest,
and pixels that fail turn into background); the threshold is the paper's .95, since the .8 of that code is of such scores, which nearly
all pass (of recorded outputs .0799 as many pass here). Its loss of complementary labels is left out (.996 of the recorded term), and the
strong view is UniMatch's.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import IGNORE, Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, tunable
from methods.parts.losses import most_likely, supervised_loss
from methods.parts.views import strong_view


@register("fixmatch")
class FixMatch(OneNetwork):
    """L = 2 L_sup + w(t) (CE + Dice)(strong view, argmax of the weak view where its probability is at least the threshold)."""

    scale: ClassVar = 2

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of the strong view's term")
        threshold: float = tunable(0.95, low=0.7, high=0.99, maximum=1, probe=0, doc="least probability of a pseudo-label")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        confidence, label = most_likely(view.probabilities)
        label = label.where(confidence >= self.hp.threshold, IGNORE)
        logits = self.network(strong_view(batch.image[batch.labelled :]))
        return {"consistency": self.hp.consistency * step.ramp * supervised_loss(logits, label)}
