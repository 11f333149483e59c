"""Volumes as registration sees them: normalised, in units of the source's organs, as coarse as a stage looks at them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.dataset import Volume
from datasets.registration.transform import Frame
from datasets.slices import tensor_of

ASSUMED_VIEW = (95.0, 350.0, 350.0)
SPREAD = 25.0
"""Standard deviation of a source's organ voxels, in the engine's units."""


@dataclass(frozen=True)
class Prepared:
    """A volume ready for registration: normalised intensities (1, 1, D, H, W), its frame, whether its orientation is known.

    For a source also its organs' mask (1, 1, D, H, W), their centre (3,) mm and ``unit`` (3,), mm in one of its units.
    """

    image: Tensor
    frame: Frame
    oriented: bool
    mask: Tensor | None
    centre: Tensor
    unit: tuple[float, float, float] = (1.0, 1.0, 1.0)
    memory: dict[object, Tensor] = field(default_factory=dict, compare=False)
    """What was made of the volume already, whatever its frame's units: it serves all pairs of the volume."""

    def coarser(self, step: tuple[float, float, float]) -> Prepared:
        """The same field of view, averaged over as many voxels as ``step`` holds along each axis."""
        size = [max(1, n // max(1, int(t / s))) for n, s, t in zip(self.frame.shape, self.frame.spacing, step, strict=True)]
        shape = (size[0], size[1], size[2])
        if shape == self.frame.shape:
            return self
        z, y, x = (s * n / m for s, n, m in zip(self.frame.spacing, self.frame.shape, shape, strict=True))
        mask = None if self.mask is None else self._averaged("mask", self.mask, shape)
        return replace(self, image=self._averaged("image", self.image, shape), frame=Frame(shape, (z, y, x)), mask=mask)

    def _averaged(self, name: str, image: Tensor, shape: tuple[int, int, int]) -> Tensor:
        if (name, shape) not in self.memory:
            self.memory[name, shape] = F.adaptive_avg_pool3d(image, shape)
        return self.memory[name, shape]

    def in_units(self, unit: tuple[float, float, float]) -> Prepared:
        """The same volume with its frame and centre in units of ``unit`` mm."""
        return replace(self, frame=self.frame.in_units(unit), centre=self.centre / self.centre.new_tensor(unit))


def frame_of(volume: Volume) -> Frame:
    """The volume's grid; without a known spacing, the assumed field of view divided by its shape."""
    shape = volume.shape
    if volume.spacing_known:
        return Frame(shape, volume.spacing)
    side = (shape[1] * shape[2]) ** 0.5
    return Frame(shape, (ASSUMED_VIEW[0] / shape[0], ASSUMED_VIEW[1] / side, ASSUMED_VIEW[2] / side))


def prepare(volume: Volume, device: torch.device) -> Prepared:
    """Intensities of the mean channel to [0, 1] between the 2nd and 98th percentile; the label's soft mask where there is one."""
    image = tensor_of(volume.image).float().mean(0).to(device)
    sample = image.flatten()[:: max(1, image.numel() // 100_000)]
    low, high = torch.quantile(sample, torch.tensor([0.02, 0.98], device=device))
    image = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    frame = frame_of(volume)
    oriented = volume.spacing_known
    label = volume.label
    if label is None:
        return Prepared(image[None, None], frame, oriented, None, torch.zeros(3, device=device))
    organs = torch.from_numpy(label > 0).to(device)
    points = frame.to_mm(organs.nonzero().float())
    if not len(points):
        return Prepared(image[None, None], frame, oriented, organs.float()[None, None], torch.zeros(3, device=device))
    z, y, x = (max(float(spread), step) / SPREAD for spread, step in zip(points.std(0), frame.spacing, strict=True))
    unit = (z, math.sqrt(y * x), math.sqrt(y * x))
    return Prepared(image[None, None], frame, oriented, organs.float()[None, None], points.mean(0), unit)


def sample(volume: Prepared, mm: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Image, inside-the-field-of-view and organ mask of a volume at points (M, d, h, w, 3) mm: each (M, 1, d, h, w)."""
    size = mm.new_tensor(volume.frame.shape)
    normalised = ((volume.frame.to_voxels(mm) + 0.5) / size * 2 - 1).flip(-1)

    def at(field: Tensor) -> Tensor:
        field = field.expand(len(mm), -1, -1, -1, -1)
        return F.grid_sample(field, normalised, mode="bilinear", padding_mode="border", align_corners=False)

    inside = (normalised.abs() <= 1).all(-1)[:, None].float()
    return at(volume.image), inside, None if volume.mask is None else at(volume.mask) * inside


def lattice(grid: tuple[int, int, int], step: tuple[float, float, float], device: torch.device) -> Tensor:
    """Points of a centred grid, (1, d, h, w, 3) mm."""
    axes = [(torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * s for n, s in zip(grid, step, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]
