"""Transforms between two volumes: an affine map after an invertible deformation, and what they do to points and labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.slices import IGNORE

SQUARINGS = 6
VOTE_SHARPNESS = 10.0


@dataclass(frozen=True)
class Frame:
    """A volume's voxel grid in mm about its centre: shape (D, H, W) and spacing (z, y, x) in mm."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def to_mm(self, voxels: Tensor) -> Tensor:
        """Voxel coordinates (..., 3) zyx to mm from the centre."""
        return (voxels - self._centre(voxels)) * voxels.new_tensor(self.spacing)

    def to_voxels(self, mm: Tensor) -> Tensor:
        """mm from the centre (..., 3) zyx to voxel coordinates."""
        return mm / mm.new_tensor(self.spacing) + self._centre(mm)

    def in_units(self, unit: tuple[float, float, float]) -> Frame:
        """The same grid with its spacing counted in units of ``unit`` (z, y, x) mm."""
        z, y, x = (s / u for s, u in zip(self.spacing, unit, strict=True))
        return Frame(self.shape, (z, y, x))

    def voxels(self) -> Tensor:
        """All voxel coordinates, (D*H*W, 3) float32."""
        return torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in self.shape))

    def _centre(self, like: Tensor) -> Tensor:
        return (like.new_tensor(self.shape) - 1) / 2


@dataclass(frozen=True)
class Transform:
    """Maps target to source: q = A (p + u(p)) + b in mm, p + u = exp(v)(p) with a stationary velocity field v.

    affine: (3, 4) [A | b]. velocity: (3, d, h, w) mm on a grid that spans ``centre`` +- ``reach`` (3,) mm in the target and is zero
    on its rim, so that the deformation ends there; None for an affine transform. Exponential of a stationary velocity field by scaling
    and squaring: Arsigny et al., MICCAI 2006; exp(-v) is the inverse.
    """

    source: Frame
    target: Frame
    affine: Tensor
    velocity: Tensor | None = None
    centre: Tensor | None = None
    reach: Tensor | None = None

    def to_source(self, points: Tensor) -> Tensor:
        """Target voxel coordinates (n, 3) zyx to source voxel coordinates."""
        return self.source.to_voxels(self.to_source_mm(self.target.to_mm(points)))

    def to_target(self, points: Tensor) -> Tensor:
        """Source voxel coordinates (n, 3) zyx to target voxel coordinates: the inverse of ``to_source``."""
        return self.target.to_voxels(self.to_target_mm(self.source.to_mm(points)))

    def to_source_mm(self, mm: Tensor) -> Tensor:
        """mm from the target's centre (n, 3) zyx to mm from the source's centre."""
        moved = self._deform(mm, 1.0)
        return moved @ self.affine[:, :3].T + self.affine[:, 3]

    def to_target_mm(self, mm: Tensor) -> Tensor:
        """mm from the source's centre (n, 3) zyx to mm from the target's centre: the inverse of ``to_source_mm``."""
        matrix = torch.linalg.inv(self.affine[:, :3].double()).float()
        return self._deform((matrix @ (mm - self.affine[:, 3]).T).T, -1.0)

    def cpu(self) -> Transform:
        """The same transform with its tensors in main memory."""
        parts: Any = {name: value.cpu() for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **parts)

    def in_mm(self, unit: tuple[float, float, float]) -> Transform:
        """A transform between frames in units of ``unit`` mm as the same map between frames in mm."""
        u = self.affine.new_tensor(unit)
        z, y, x = (1 / v for v in unit)
        affine = torch.cat([self.affine[:, :3] * u[:, None] / u, (self.affine[:, 3] * u)[:, None]], 1)
        frames = (self.source.in_units((z, y, x)), self.target.in_units((z, y, x)))
        if self.velocity is None or self.centre is None or self.reach is None:
            return Transform(*frames, affine)
        return Transform(*frames, affine, self.velocity * u[:, None, None, None], self.centre * u, self.reach * u)

    def _deform(self, mm: Tensor, sign: float) -> Tensor:
        if self.velocity is None or self.centre is None or self.reach is None:
            return mm
        finer = [2 * n - 1 for n in self.velocity.shape[1:]]  # halves the steps: both directions then agree better
        velocity = F.interpolate(sign * self.velocity[None], finer, mode="trilinear", align_corners=True)
        field = exponential(velocity, self.reach)[0]
        return mm + sample_field(field, (mm - self.centre) / self.reach)


def exponential(velocity: Tensor, reach: Tensor) -> Tensor:
    """Displacement (N, 3, d, h, w) mm of exp(v) by scaling and squaring; ``reach`` is half the grid's extent in mm, (3,)."""
    axes = [torch.linspace(-1, 1, n, device=velocity.device) for n in velocity.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]
    field = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        at = grid + (field / reach[:, None, None, None]).movedim(1, -1)
        field = field + F.grid_sample(field, at.flip(-1), mode="bilinear", padding_mode="zeros", align_corners=True)
    return field


def sample_field(field: Tensor, at: Tensor) -> Tensor:
    """A field (3, d, h, w) at normalised points (n, 3) zyx in [-1, 1], 0 outside: (n, 3)."""
    grid = at.flip(-1)[None, None, None]
    return F.grid_sample(field[None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0, :, 0, 0].T


def folded_fraction(transform: Transform) -> float:
    """Share of the deformed region where the field's Jacobian determinant is not positive."""
    if transform.velocity is None or transform.reach is None:
        return 0.0
    field = exponential(transform.velocity[None], transform.reach)[0]
    steps = [2 * float(r) / (n - 1) for r, n in zip(transform.reach, field.shape[1:], strict=True)]
    gradients = torch.stack(torch.gradient(field, spacing=steps, dim=(1, 2, 3)), 1)
    jacobian = torch.eye(3, device=field.device)[:, :, None, None, None] + gradients
    return float((torch.linalg.det(jacobian.movedim((0, 1), (-2, -1))) <= 0).float().mean())


def warp_label(transform: Transform, label: Tensor, back: bool = False) -> Tensor:
    """A source label (D, H, W) uint8 on the target's native grid, nearest neighbour; IGNORE outside the source's field of view.

    back: the other way, a target label on the source's grid.
    """
    grid, carry = (transform.source, transform.to_target) if back else (transform.target, transform.to_source)
    points = carry(grid.voxels()).round().long()
    shape = torch.tensor(label.shape)
    inside = ((points >= 0) & (points < shape)).all(1)
    z, y, x = points.clamp(min=0).minimum(shape - 1).unbind(1)
    return torch.where(inside, label[z, y, x], IGNORE).view(grid.shape).to(torch.uint8)


def warp_image(transform: Transform, image: Tensor) -> Tensor:
    """A source image (D, H, W) on the target's native grid, trilinear; 0 outside the source's field of view."""
    points = transform.to_source(transform.target.voxels())
    grid = ((points + 0.5) / torch.tensor(image.shape) * 2 - 1).flip(-1).view(1, *transform.target.shape, 3)
    return F.grid_sample(image[None, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0, 0]


def vote_by_similarity(labels: list[Tensor], similarities: list[float]) -> Tensor:
    """The vote of warped labels (D, H, W) weighted by softmax(10 similarity)."""
    return vote(torch.stack(labels), torch.softmax(VOTE_SHARPNESS * torch.tensor(similarities), 0))


def vote(labels: Tensor, weights: Tensor) -> Tensor:
    """Weighted majority of labels (M, ...) uint8 with weights (M,); IGNORE takes no part, and stays where nobody votes."""
    classes = [int(k) for k in labels.unique() if k != IGNORE] or [IGNORE]
    shape = (-1, *[1] * (labels.ndim - 1))
    scores = torch.stack([((labels == k) * weights.view(shape)).sum(0) for k in classes])
    winner = torch.tensor(classes, dtype=torch.uint8)[scores.argmax(0)]
    return torch.where(scores.sum(0) > 0, winner, IGNORE).to(torch.uint8)
