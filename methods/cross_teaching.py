"""Cross-teaching: a U-Net and a Swin-UNet, each learns the other's argmax by Dice.

CTCT, Luo et al., MIDL 2022. Defaults: its ACDC values (SSL4MIS code/train_cross_teaching_between_cnn_transformer_2D.py); w(t) is
expressed as a fraction of the steps. The U-Net is reported.

Deviations: the Swin-UNet starts at random and has no drop-path (there ImageNet weights and .2), and is trained by AdamW (there SGD, by
which it learns next to nothing without those weights).
"""

from __future__ import annotations

from torch import Tensor

from benchmark.ground.registry import register
from methods.bases.co_training import CoTraining
from methods.method import Task
from methods.networks.network import Network
from methods.parts.losses import dice_loss


@register("cross_teaching")
class CrossTeaching(CoTraining):
    """L = L_sup(A) + L_sup(B) + w(t) (Dice(A, Y_B) + Dice(B, Y_A)) on unlabelled slices, no threshold."""

    def second(self, task: Task) -> Network:
        return task.swin_unet()

    def exchange(self, logits: Tensor, probabilities: Tensor, pseudo: Tensor) -> Tensor:
        return dice_loss(probabilities, pseudo)
