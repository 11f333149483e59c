"""BCP, bidirectional copy-paste: labelled patches in unlabelled slices and the reverse, taught by a moving average.

Bai et al., CVPR 2023 (github.com/DeepMed-Lab-ECNU/BCP, ACDC). The first third of the steps mixes labelled slices with each other, as its
10,000 of 30,000 steps do; the ramp that its code computes and does not use is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.registry import register
from datasets.slices import IGNORE, Batch
from methods.losses import largest_components, most_likely, supervised_loss
from methods.method import Step, tunable
from methods.one_network import View, WithTeacher
from methods.views import boxes, paste


@register("bcp")
class BCP(WithTeacher):
    """L = L_sup(labelled part of the mix) + alpha L_sup(unlabelled part, the teacher's tidied argmax); a box is the inner part.

    Half of the mixes have the labelled slice inside the box, half outside.
    """

    class Hparams(WithTeacher.Hparams):
        unlabelled: float = tunable(0.5, low=0.1, high=2, doc="weight of the unlabelled part")
        box: float = tunable(2 / 3, low=0.3, high=0.9, minimum=0.05, maximum=1, doc="side of the box, of the slice's side")
        warm_up: float = tunable(1 / 3, low=0.1, high=0.5, maximum=1, doc="part of the steps that mixes labelled slices alone")

        @property
        def needs_unlabelled(self) -> bool:
            return True

    def mixed_logits(self, image: Tensor) -> list[Tensor]:
        """Logits of each network that learns from mixed images (N, C, P, P)."""
        return [self.network(image)]

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = self.mixed_terms(batch, step)
        if self.hp.rsl:
            plain = self.network(batch.image[batch.labelled :])
            terms["rsl"] = self.rsl([plain], batch, most_likely(torch.softmax(plain, 1))[1], step)
        return terms

    def mixed_terms(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The copy-paste terms: of labelled slices with each other while warming up, then of labelled with unlabelled ones."""
        n = batch.labelled
        labelled, unlabelled = batch.image[:n], batch.image[n:]
        if step.fraction < self.hp.warm_up:
            inside = self._inside(labelled)
            mixed = paste(inside, labelled.roll(1, 0), labelled)
            return {"mixed": self._parts(mixed, inside, batch.label.roll(1, 0), batch.label, 1.0)}
        pairs = min(n, len(unlabelled))
        inside = self._inside(labelled[:pairs])
        pseudo = largest_components(most_likely(self.taught(unlabelled[:pairs]))[1])
        mixed = paste(inside, labelled[:pairs], unlabelled[:pairs])
        return {"mixed": self._parts(mixed, inside, batch.label[:pairs], pseudo, self.hp.unlabelled)}

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {}

    def _inside(self, image: Tensor) -> Tensor:
        """(N, H, W) bool: a box at a random place, true inside for even slices and outside for odd ones."""
        sides = [image.new_full((1, 1, 1, 1), self.hp.box * side) for side in image.shape[-2:]]
        odd = torch.arange(len(image), device=image.device) % 2 == 1
        return boxes(image[:1], *sides) ^ odd[:, None, None]

    def _parts(self, mixed: Tensor, first: Tensor, label: Tensor, other: Tensor, weight: float) -> Tensor:
        """Supervision of the part ``first`` of the mixed images by ``label``, and ``weight`` times that of the rest by ``other``."""
        label, other = label.where(first, IGNORE), other.where(~first, IGNORE)
        parts = [supervised_loss(x, label) + weight * supervised_loss(x, other) for x in self.mixed_logits(mixed)]
        return torch.stack(parts).sum()
