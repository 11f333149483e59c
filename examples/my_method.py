"""Flip consistency: the prediction for a mirrored slice is the mirrored prediction. An example; see docs/plugins.md."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets import Batch
from methods import OneNetwork, Step, View, register, tunable


@register("flip_consistency")
class FlipConsistency(OneNetwork):
    """L = L_sup + w(t) MSE(p(mirrored), mirrored p) on unlabelled slices."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("consistency",)  # with these at 0 it is `supervised`, to the bit
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        unlabelled = batch.image[batch.labelled :]  # a batch has labelled slices first, then unlabelled ones
        mirrored = torch.softmax(self.network(unlabelled.flip(-1)), 1)
        target = view.probabilities.detach().flip(-1)
        return {"consistency": self.hp.consistency * step.ramp * F.mse_loss(mirrored, target)}
