"""Entropy minimisation: confident predictions, also where there are no labels.

Grandvalet & Bengio, NeurIPS 2004. Defaults: the ACDC values of SSL4MIS (code/train_entropy_minimization_2D.py).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, tunable


@register("entropy_min")
class EntropyMinimisation(OneNetwork):
    """L = L_sup + w(t) mean entropy / ln C on all slices, labelled ones too."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("entropy",)
        entropy: float = tunable(0.1, low=0.01, high=1, log=True, doc="ceiling of the entropy term's weight")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        p = torch.softmax(view.logits, 1)
        entropy = -(p * (p + 1e-6).log()).sum(1).mean() / math.log(p.shape[1])
        return {"entropy": self.hp.entropy * step.ramp * entropy}
