"""MCSC: cross-teaching with class-balanced supervised contrast of tiles of several slices, at two scales; the parent of CCT-R.

Liu et al., "Multi-Scale Cross Contrastive Learning for Semi-Supervised Medical Image Segmentation", BMVC 2023
(github.com/kathyliu579/MCSC). Known: both networks' features, tiles that meet at random those of four slices (its batch), denominators
balanced over classes, tiles of background alone left out, temperature .1, weight .001 a network and scale, unlabelled pixels from a tenth
of the steps.

Deviations: the second scale pools the last map further, there it is a deeper map; the grids, and tiles that cover the whole map (there a
part is missed); labels stand at their own pixels (there they are read in another order than the features, which makes .0846 of
the recorded loss of tidy features here); the U-Net is trained by the protocol's optimiser (there AdamW, as all else here, too); the
Swin-UNet starts at random and has no drop-path (there ImageNet weights and .2). Any number of classes (there four).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import IGNORE, Batch
from methods.bases.co_training import Views
from methods.cross_teaching import CrossTeaching
from methods.method import Step, Task, tunable
from methods.parts.contrast import Projector, anchor_classes
from methods.parts.losses import most_likely
from methods.parts.tiles import balanced_contrast, meetings, tiles

STRIDES = (4, 8)
"""Image pixels a cell at each scale."""


@register("mcsc")
class MCSC(CrossTeaching):
    """L = cross-teaching + w_cl sum over scales of the balanced supervised contrast of tiles of both networks and several slices."""

    class Hparams(CrossTeaching.Hparams):
        weights: ClassVar = ("exchange", "contrast")
        contrast: float = tunable(
            0.002, low=1e-4, high=0.1, log=True, doc="weight of each scale's contrast, both networks together [known]"
        )
        temperature: float = tunable(0.1, low=0.03, high=0.5, log=True, minimum=1e-3, doc="of the contrast [known]")
        contrast_start: float = tunable(
            0.1, low=0, high=0.3, maximum=1, doc="unlabelled pixels join after this part of the steps [known]"
        )
        confidence: float = tunable(
            0, low=0, high=0.9, maximum=1, doc="unlabelled pixels need a top-1 probability above this [choice]"
        )

    def build(self, task: Task) -> None:
        super().build(task)
        if self.hp.contrast:
            self.projector = Projector([self.a.feature_width, self.b.feature_width])

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        views = self.view(batch)
        terms = self.base_terms(views, batch, step)
        if self.hp.contrast:
            told = [most_likely(p[batch.labelled :]) for p in reversed(views.probabilities)]
            classes = [anchor_classes(batch, label, sure, self.hp, step) for sure, label in told]
            scales = [self._contrast(views, classes, stride) for stride in STRIDES]
            terms["contrast"] = self.hp.contrast * torch.stack(scales).sum()
        return terms

    def _contrast(self, views: Views, classes: list[Tensor], stride: int) -> Tensor:
        """Over the tiles of a grid of one cell for stride x stride pixels; a cell has its middle pixel's class."""
        rows, columns = (max(1, side // stride) for side in classes[0].shape[-2:])
        cells, labels = [], []
        for number, (maps, label) in enumerate(zip(views.features, classes, strict=True)):
            pooled = F.adaptive_avg_pool2d(maps, (rows, columns))
            vectors = self.projector(pooled.permute(0, 2, 3, 1).flatten(0, 2), number)
            cells.append(tiles(vectors.view(len(maps), rows, columns, -1), 0.0))
            middle = F.interpolate(label[:, None].float(), (rows, columns), mode="nearest-exact")[:, 0]
            labels.append(tiles(middle[..., None], float(IGNORE))[..., 0])
        met, label = meetings(torch.stack(cells, 1), torch.stack(labels, 1))
        return balanced_contrast(met, label, self.task.classes, self.hp.temperature)
