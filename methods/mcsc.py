"""MCSC: cross-teaching with supervised contrast inside local tiles, at two scales; the parent of CCT-R.

Liu et al., "Multi-Scale Cross Supervised Contrastive Learning", BMVC 2023. Known: both networks' features, tiles, two scales,
temperature .1, weight 1e-3 a network, unlabelled pixels from a tenth of the steps. Choices: the grids, and tiles that cover the whole
map (its code's miss a part). Any number of classes (there four).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.registry import register
from datasets.slices import IGNORE, Batch
from methods.cctr.contrast import Projector, anchor_classes
from methods.co_training import Views
from methods.cross_teaching import CrossTeaching
from methods.losses import most_likely
from methods.method import Step, Task, tunable

STRIDES, TILE = (4, 8), 8
"""Image pixels a cell at each scale; cells along a tile's side."""


@register("mcsc")
class MCSC(CrossTeaching):
    """L = cross-teaching + w_cl mean over scales of the supervised contrast (Khosla et al., 2020, eq. 2) inside tiles of both networks."""

    class Hparams(CrossTeaching.Hparams):
        weights: ClassVar = ("exchange", "contrast")
        contrast: float = tunable(
            0.002, low=1e-4, high=0.1, log=True, doc="weight of the contrast, both networks together [known]"
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
            terms["contrast"] = self.hp.contrast * torch.stack(scales).mean()
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
        return supervised_contrast(torch.cat(cells, 1), torch.cat(labels, 1), self.hp.temperature)


def tiles(cells: Tensor, fill: float) -> Tensor:
    """(N, h, w, E) as tiles (T, TILE * TILE, E) that cover all of it; what is missing at the edge is ``fill``."""
    n, height, width, size = cells.shape
    padded = F.pad(cells, (0, 0, 0, -width % TILE, 0, -height % TILE), value=fill)
    split = padded.view(n, padded.shape[1] // TILE, TILE, padded.shape[2] // TILE, TILE, size)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(-1, TILE * TILE, size)


def supervised_contrast(vectors: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Khosla et al., NeurIPS 2020, eq. 2, inside each tile: unit vectors (T, M, E), label (T, M), IGNORE takes no part.

    Mean over the members that have another of their class in the tile; 0 where none has.
    """
    valid = label != IGNORE
    others = valid[:, None, :] & ~torch.eye(label.shape[1], dtype=torch.bool, device=label.device)
    same = others & (label[:, :, None] == label[:, None, :])
    similarity = vectors @ vectors.mT / temperature
    total = torch.logsumexp(similarity.masked_fill(~others, -1e9), 2, keepdim=True)
    count = same.sum(2)
    loss = -((similarity - total) * same).sum(2) / count.clamp(min=1)
    chosen = valid & (count > 0)
    return (loss * chosen).sum() / chosen.sum().clamp(min=1)
