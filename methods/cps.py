"""CPS: cross pseudo supervision; two U-Nets, differently initialised, each learn the other's argmax by cross-entropy.

Chen et al., CVPR 2021. Defaults: the ACDC values of SSL4MIS (code/train_cross_pseudo_supervision_2D.py). Network A is reported.

Deviations: the authors' own code, for photographs (github.com/charlesCXK/TorchSemiSeg), has a constant weight of 1.5 (ours is
.0667 of it) and takes all images.
"""

from __future__ import annotations

from torch import Tensor

from benchmark.ground.registry import register
from methods.bases.co_training import CoTraining
from methods.method import Task
from methods.networks.network import Network
from methods.parts.losses import cross_entropy


@register("cps")
class CPS(CoTraining):
    """L = L_sup(A) + L_sup(B) + w(t) (CE(A, Y_B) + CE(B, Y_A)) on unlabelled slices, no threshold."""

    def second(self, task: Task) -> Network:
        return task.unet()

    def exchange(self, logits: Tensor, probabilities: Tensor, pseudo: Tensor) -> Tensor:
        return cross_entropy(logits, pseudo)
