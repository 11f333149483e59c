"""SliceBank: a training set's slices resident on one device, and batches cut from it as tensor programs.

A batch is a pure function of (seed, step): no sampler state exists, so a resumed run sees what an uninterrupted one sees, and all
methods see the same slices under the same augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.augmentation import strong_geometry, strong_intensities, weak_augmentation
from datasets.dataset import IGNORE, Volume
from datasets.devices import to_device

INVERSE_STEPS = 8
"""Of the search for the pixel that a displacement moves to a given place."""


@dataclass(frozen=True)
class Batch:
    """Augmented slices, labelled ones first, and where their pixels came from.

    image: (L+U, C, P, P) float32.
    label: (L, P, P) int64, of the labelled slices only.
    slice: (L+U,) int64, row of each slice in the bank.
    to_slice: (L+U, 2, 3) float32, maps augmented pixels (row, column, 1) to pixels (row, column) of the bank's slice.
    displacement: (L+U, 2, P, P) float32, added to what ``to_slice`` gives for each augmented pixel; None where nothing is bent.
    """

    image: Tensor
    label: Tensor
    slice: Tensor
    to_slice: Tensor
    displacement: Tensor | None = None

    @property
    def labelled(self) -> int:
        """L, the number of labelled slices."""
        return self.label.shape[0]

    def sources(self, item: Tensor, pixel: Tensor) -> Tensor:
        """Where augmented pixels (n, 2) of the slices ``item`` (n,) came from: (n, 2) pixels of the bank's slices, rounded."""
        found = torch.einsum("nij,nj->ni", self.to_slice[item], F.pad(pixel.float(), (0, 1), value=1.0))
        if self.displacement is not None:
            row, column = pixel.unbind(1)
            found = found + self.displacement[item, :, row, column]
        return found.round().long()

    def targets(self, count: int, points: Tensor) -> Tensor:
        """Where ``points`` (M, 2) of the bank's slices went in the first ``count`` augmented ones: (count, M, 2) pixels, rounded, some
        outside of the image.
        """
        linear, offset = self.to_slice[:count, :, :2], self.to_slice[:count, :, 2]
        moved = points.float() - offset[:, None]
        pixel = torch.linalg.solve(linear, moved.mT).mT
        if self.displacement is not None:
            item = torch.arange(count, device=pixel.device)[:, None]
            for _ in range(INVERSE_STEPS):
                row, column = pixel.round().long().clamp(0, self.image.shape[-1] - 1).unbind(2)
                pixel = torch.linalg.solve(linear, (moved - self.displacement[item, :, row, column]).mT).mT
        return pixel.round().long()


class SliceBank:
    """All slices of the training volumes, resized to P x P pixels.

    volumes: the volumes in order; those of unlabelled cases carry no mask.
    image: (S, C, P, P) float32, ``resized`` or given as such. label: (S, P, P) uint8, IGNORE in unlabelled volumes.
    volume, plane: (S,) int64, index into ``volumes`` and slice number. first: (V,) a volume's first row; its slices follow in order.
    """

    def __init__(self, volumes: Sequence[Volume], image_size: int, device: torch.device, images: Tensor | None = None) -> None:
        self.volumes = volumes
        self.size = image_size
        self.device = device
        depths = torch.tensor([v.shape[0] for v in volumes])
        self.first = (depths.cumsum(0) - depths).to(device)
        self.volume = torch.repeat_interleave(torch.arange(len(volumes)), depths).to(device)
        self.plane = torch.cat([torch.arange(int(d)) for d in depths]).to(device)
        self.image = (resized(volumes, image_size) if images is None else images).to(device)
        self.label = self._labels().to(device)
        has_label = torch.tensor([v.labelled for v in volumes]).to(device)[self.volume]
        self.labelled = has_label.nonzero().flatten()
        unlabelled = (~has_label).nonzero().flatten()
        # With all cases labelled the unlabelled stream shows the same images without their masks.
        self.unlabelled = unlabelled if len(unlabelled) else self.labelled

    def _labels(self) -> Tensor:
        labels = torch.full((len(self.plane), self.size, self.size), IGNORE, dtype=torch.uint8)
        for volume, first in zip(self.volumes, self.first.tolist(), strict=True):
            if volume.labelled:
                labels[first : first + volume.shape[0]] = resize_label(tensor_of(volume.label), self.size)
        return labels

    def batch(
        self, seed: int, step: int, labelled: int, unlabelled: int, augmentation: Literal["weak", "strong"] = "weak"
    ) -> Batch:
        """The batch of ``step``: slices of each stream without replacement within an epoch, augmented."""
        rows = torch.cat(
            [
                _stream(len(self.labelled), seed, 0, step, labelled, self.labelled),
                _stream(len(self.unlabelled), seed, 1, step, unlabelled, self.unlabelled),
            ]
        )
        n, displacement = labelled + unlabelled, None
        if augmentation == "strong":
            generator = _generator(seed, 3, step)
            to_slice, displacement = strong_geometry(n, self.size, generator)
            displacement = to_device(displacement, self.device)
        else:
            to_slice = weak_augmentation(n, self.size, _generator(seed, 2, step))
        to_slice = to_device(to_slice, self.device)
        grid = sampling_grid(to_slice, self.size, displacement)
        image = F.grid_sample(self.image[rows], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        if augmentation == "strong":
            image = strong_intensities(image, generator)
        label = carry(self.label[rows[:labelled]], grid[:labelled])
        return Batch(image, label, rows, to_slice, displacement)

    def carry(self, stack: Tensor, batch: Batch) -> Tensor:
        """Integer maps that lie on the bank's slices, (S, P, P), under the augmentation of ``batch``: (L+U, P, P) int64."""
        return carry(stack[batch.slice], sampling_grid(batch.to_slice, self.size, batch.displacement))


def carry(maps: Tensor, grid: Tensor) -> Tensor:
    """(N, P, P) integer maps sampled at ``grid`` with nearest neighbour, 0 outside: int64."""
    moved = F.grid_sample(maps[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved[:, 0].long()


def tensor_of(array: np.ndarray | None) -> Tensor:
    """An array that is there, as a tensor in memory of its own: one that shares a volume's would be writable, whatever the array says."""
    assert array is not None
    return torch.from_numpy(array.copy())


def resized(volumes: Sequence[Volume], size: int) -> Tensor:
    """All slices of the volumes, (S, C, size, size) float32; a volume is read at a time."""
    return torch.cat([resize_image(volume, size) for volume in volumes])


def resize_image(volume: Volume, size: int) -> Tensor:
    """A volume's slices as (D, C, size, size) float32, bilinear with anti-aliasing."""
    image = tensor_of(volume.image).float().transpose(0, 1)
    return F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)


def resize_label(label: Tensor, size: int) -> Tensor:
    """(D, H, W) class numbers as (D, size, size), nearest neighbour, pixel centres aligned."""
    return F.interpolate(label[:, None].float(), (size, size), mode="nearest-exact")[:, 0].to(label.dtype)


def sampling_grid(to_slice: Tensor, size: int, displacement: Tensor | None = None) -> Tensor:
    """The grid for ``grid_sample`` (align_corners=False) of pixel maps (N, 2, 3) and what is added to them (N, 2, size, size): (N, size,
    size, 2), last axis (x, y).
    """
    pixels = pixel_grid(size, to_slice.device)
    rows_columns = torch.einsum("nij,hwj->nhwi", to_slice, pixels)
    if displacement is not None:
        rows_columns += displacement.movedim(1, -1)
    return rows_columns.mul_(2).add_(1).div_(size).sub_(1).flip(-1)  # in place: a third of the time


@lru_cache(maxsize=8)
def pixel_grid(size: int, device: torch.device) -> Tensor:
    """Homogeneous pixel coordinates (row, column, 1): (size, size, 3) float32."""
    axis = torch.arange(size, dtype=torch.float32, device=device)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([rows, columns, torch.ones_like(rows)], -1)


def _generator(*key: int) -> torch.Generator:
    """A generator seeded by a tuple of integers (mixed so that neighbouring keys are unrelated)."""
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = ((state ^ part) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return torch.Generator().manual_seed(state)


@lru_cache(maxsize=32)
def _permutation(n: int, seed: int, stream: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=_generator(seed, stream, epoch))


def _stream(n: int, seed: int, stream: int, step: int, count: int, rows: Tensor) -> Tensor:
    """``count`` of the stream's rows at ``step``: endless shuffled epochs read from position step * count."""
    start, stop = step * count, (step + 1) * count
    epochs = range(start // n, (stop - 1) // n + 1)
    shuffled = torch.cat([_permutation(n, seed, stream, epoch) for epoch in epochs])
    offset = epochs.start * n
    return rows[to_device(shuffled[start - offset : stop - offset], rows.device)]
