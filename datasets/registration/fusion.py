"""What several sources carry over to a target becomes one label, with a confidence: a vote weighted by how alike the images are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from datasets.dataset import Volume
from datasets.registration.engine import Prepared, prepare, sample
from datasets.registration.pairs import Candidate
from datasets.registration.similarity import local_correlation
from datasets.registration.transform import Transform, vote, warp_label
from datasets.slices import tensor_of


class FusionConfig(BaseModel):
    """How alike images are at a place, and what that weighs. Steps in units of the source's organs (mm for a heart)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 1
    step: tuple[float, float, float] = (9.0, 3.0, 3.0)
    """Between the points at which images are compared."""
    window: tuple[int, int, int] = (3, 9, 9)
    """Points of a comparison: 12 units to each side in plane."""
    floor: float = 0.05
    """The least correlation that is told from none: where no source is alike, all vote."""
    sharpness: float = 6.0
    """Power of the correlation that is a vote's weight."""


CONFIG = FusionConfig()


def local_similarity(transform: Transform, source: Prepared, target: Prepared) -> Tensor:
    """Correlation of the warped source with the target about each voxel of the target, in [-1, 1]: (D, H, W)."""
    z, y, x = (n * u for n, u in zip(CONFIG.step, source.unit, strict=True))
    there = target.coarser((z, y, x))
    at = transform.to_source_mm(there.frame.to_mm(there.frame.voxels())).view(1, *there.frame.shape, 3)
    moving = sample(source.coarser((z, y, x)), at)[0]
    alike = local_correlation(moving, there.image, CONFIG.window)
    return F.interpolate(alike, target.frame.shape, mode="trilinear", align_corners=False)[0, 0]


class Fused(NamedTuple):
    """A label (D, H, W) uint8, IGNORE where no source sees, and its confidence (D, H, W): the share of the vote that it won, 0 to 1."""

    label: Tensor
    confidence: Tensor


class Fusion:
    """Labels of ``volumes``, of which the labelled ones are sources, carried over to targets and fused. On the CPU."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self.volumes = volumes
        self.prepared: dict[int, Prepared] = {}

    def carried(self, candidate: Candidate) -> Tensor:
        """A source's label on the target's grid, (D, H, W) uint8."""
        return warp_label(candidate.transform, tensor_of(self.volumes[candidate.source].label))

    def __call__(self, candidates: Sequence[Candidate], target: Volume, labels: Sequence[Tensor] | None = None) -> Fused:
        """The vote of a target's candidates, at least one, each weighted at a voxel by local similarity; labels: theirs, where carried."""
        stack = torch.stack(list(labels) if labels else [self.carried(c) for c in candidates])
        if len(candidates) == 1:
            return Fused(*vote(stack, torch.ones(1)))
        there = prepare(target, torch.device("cpu"))
        alike = torch.stack([local_similarity(c.transform, self._prepare(c.source), there) for c in candidates])
        return Fused(*vote(stack, alike.clamp(min=CONFIG.floor) ** CONFIG.sharpness))

    def _prepare(self, source: int) -> Prepared:
        if source not in self.prepared:
            self.prepared[source] = prepare(self.volumes[source], torch.device("cpu"))
        return self.prepared[source]
