"""ABD, adaptive bidirectional displacement: BCP with a second network on a strong view; unsure patches give way to sure ones.

Chi et al., CVPR 2024 (github.com/chy-upc/ABD, code/train_ACDC_BCP.py and utils/displacement.py): its script for ACDC, which stands on BCP.
The warm-up trains one network, from which both start. Of each mixed image the least sure of 4 x 4 patches is replaced by one of the other
view: by the surest, or by that of the four surest whose classes are most like its own. Weights are constant there.

Deviations: BCP's; the background's Dice counts the masked part alone, as BCP's since its issue 25 (there: the whole image; the recorded
step's sum is .9997 of theirs, to three digits 1); the second network's optimiser starts without momentum; of the jitter brightness comes
before contrast (there: in random order).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bcp import BCP
from methods.method import Step, Task, tunable
from methods.parts.displacement import displaced
from methods.parts.losses import dice_loss, most_likely
from methods.parts.views import cut_out, jittered

JITTER = 0.8


@register("abd")
class ABD(BCP):
    """L = BCP(A) + BCP(B on a strong view) + Dice(A, Y_B) + Dice(B, Y_A), these two also on displaced mixes. A is reported.

    A strong view has noise in a box (background in its label) and another brightness and contrast. Y = argmax on the same images.
    """

    class Hparams(BCP.Hparams):
        exchange: float = tunable(1, low=0.1, high=10, log=True, doc="weight of the other's pseudo-labels of the mixes")
        displaced: float = tunable(
            1, low=0.1, high=10, log=True, doc="weight of the other's pseudo-labels of the displaced mixes"
        )

    reach: ClassVar = {
        "mixed": ("network",),
        "strong": ("second",),
        "exchange_a": ("network",),
        "exchange_b": ("second",),
        "displaced_a": ("network",),
        "displaced_b": ("second",),
    }

    def build(self, task: Task) -> None:
        super().build(task)
        self.second = task.unet()

    def second_phase(self, batch: Batch) -> dict[str, Tensor]:
        n, image, label = batch.labelled, batch.image, batch.label
        noise, hidden = cut_out(image)
        strong, strong_label = jittered(noise, JITTER), label.where(~hidden[:n], 0)
        inside = self.inside(image[: min(n, len(image) - n)])
        weak_mix, strong_mix = self.mixed(image, n, inside), self.mixed(strong, n, inside)
        a, b = self.network(weak_mix), self.second(strong_mix)
        nearest = torch.rand(len(a), device=a.device) < 0.5
        moved = torch.cat([displaced(weak_mix, strong_mix, a, b, nearest), displaced(strong_mix, weak_mix, b, a, nearest)])
        terms = {
            "mixed": self.both_directions(a, inside, image, label),
            "strong": self.both_directions(b, inside, strong, strong_label),
        }
        again = (self.network(moved), self.second(moved))
        return (
            terms
            | taught_crosswise("exchange", self.hp.exchange, a, b)
            | taught_crosswise("displaced", self.hp.displaced, *again)
        )

    def after_step(self, step: Step) -> None:
        super().after_step(step)
        if self.warming:
            self.second.load_state_dict(self.network.state_dict())

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return super().predictions(image) | {"second": torch.softmax(self.second(image), 1)}


def taught_crosswise(name: str, weight: float, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Dice of each network's logits (N, K, P, P) against the other's argmax, weighted."""
    p_a, p_b = torch.softmax(a, 1), torch.softmax(b, 1)
    (_, y_a), (_, y_b) = most_likely(p_a), most_likely(p_b)
    return {f"{name}_a": weight * dice_loss(p_a, y_b), f"{name}_b": weight * dice_loss(p_b, y_a)}
