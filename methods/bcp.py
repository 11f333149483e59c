"""BCP, bidirectional copy-paste: labelled patches in unlabelled slices and the reverse, taught by a moving average.

Bai et al., CVPR 2023 (github.com/DeepMed-Lab-ECNU/BCP, code/ACDC_BCP_train.py). A quarter of the steps mixes labelled slices with each
other, as its 10,000 before 30,000 do; then the teacher starts from the student's weights. The ramp that its code computes and does not
use is left out.

Deviations: the warm-up also lasts until every class was found (parts/copy_paste.py), and ends in its last weights (there: the best on
validation cases); while it lasts every labelled slice is mixed with its neighbour (there: half of them with the other half), by a box in
every second one and around it in the others (there: in all); both directions of a step are one batch (there: two passes of half of it).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import View, WithTeacher
from methods.method import Step, Task, tunable
from methods.parts.copy_paste import WarmUp, mix_loss
from methods.parts.losses import largest_components, most_likely
from methods.parts.views import boxes, paste


@register("bcp")
class BCP(WithTeacher):
    """L = sum over directions of L_sup(labelled part of the mix) + alpha L_sup(unlabelled part, the teacher's tidied argmax).

    A box is the inner part: in one direction of labelled slices, in the other of unlabelled ones.
    """

    class Hparams(WithTeacher.Hparams):
        unlabelled: float = tunable(0.5, low=0.1, high=2, doc="weight of the unlabelled part")
        box: float = tunable(2 / 3, low=0.3, high=0.9, minimum=0.05, maximum=1, doc="side of the box, of the slice's side")
        warm_up: float = tunable(
            1 / 4, low=0.1, high=0.5, maximum=1, doc="least part of the steps that mixes labelled slices alone; 0 none"
        )

        @property
        def needs_unlabelled(self) -> bool:
            return True

    probe: ClassVar = {"warm_up": 0}

    def build(self, task: Task) -> None:
        super().build(task)
        self.warm_up = WarmUp(task, self.hp.warm_up)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self.warming = not self.warm_up.over
        terms = self.first_phase(batch, step) if self.warming else self.second_phase(batch)
        return terms | self.registered(batch, step)

    def first_phase(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Labelled slices mixed with each other."""
        image, label = batch.image[: batch.labelled], batch.label
        inside = self.inside(image)
        logits = self.network(paste(inside, image.roll(1, 0), image))
        self.warm_up.look(logits, paste(inside, label.roll(1, 0), label), step)
        return {"mixed": mix_loss(logits, inside, label.roll(1, 0), label, 1.0)}

    def second_phase(self, batch: Batch) -> dict[str, Tensor]:
        """Labelled slices mixed with unlabelled ones."""
        inside = self.inside(batch.image[: min(batch.labelled, len(batch.image) - batch.labelled)])
        logits = self.network(self.mixed(batch.image, batch.labelled, inside))
        return {"mixed": self.both_directions(logits, inside, batch.image, batch.label)}

    def after_step(self, step: Step) -> None:
        if self.warming:
            self.teacher.load_state_dict(self.network.state_dict())
        else:
            super().after_step(step)

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {}

    def inside(self, image: Tensor) -> Tensor:
        """(N, H, W) bool: a box at a random place, true inside for even slices and outside for odd ones."""
        sides = [image.new_full((1, 1, 1), int(self.hp.box * side)) for side in image.shape[-2:]]
        odd = torch.arange(len(image), device=image.device) % 2 == 1
        return boxes(image[:1], *sides) ^ odd[:, None, None]

    @staticmethod
    def mixed(image: Tensor, labelled: int, inside: Tensor) -> Tensor:
        """Images (N, C, P, P) that are labelled slices where ``inside`` (N, P, P) is true, and unlabelled ones elsewhere."""
        return paste(inside, image[: len(inside)], image[labelled : labelled + len(inside)])

    def both_directions(self, logits: Tensor, inside: Tensor, image: Tensor, label: Tensor) -> Tensor:
        """The sum over both directions of the losses of ``mixed``; the teacher labels the unlabelled part of ``image``."""
        n = len(inside)
        pseudo = largest_components(most_likely(self.taught(image[len(label) : len(label) + n]))[1])
        ways = [(logits[way::2], inside[way::2], label[:n][way::2], pseudo[way::2]) for way in (0, 1)]
        return torch.stack([mix_loss(*way, self.hp.unlabelled) for way in ways]).sum()
