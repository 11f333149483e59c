"""Augmentation as tensor programs: the field's weak one, and the strong one of nnU-Net.

Strong is nnU-Net's recipe in 2-D: what is done to how many slices and how much stands in MIC-DKFZ/nnUNet, branch nnunetv1,
nnunet/training/data_augmentation/data_augmentation_moreDA.py and default_data_augmentation.py (2-D, square patches: any rotation) and
nnunet/training/network_training/nnUNetTrainerV2.py (scale), and in MIC-DKFZ/batchgenerators, batchgenerators/augmentations. Written anew
for batches. Three things differ. Intensities are in [0, 1] and stay there (nnU-Net's have mean 0 and standard deviation 1), so noise
counts in standard deviations of the slice. Slices are interpolated once, bilinearly. The elastic field is milder, rms displacements of up
to 1 % of the side: nnU-Net's default trainer has none at all, its parameters an alpha of up to 200.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.devices import to_device

MAX_ROTATION_DEGREES = 20.0

ROTATED, SCALED, BENT, MIRRORED = 0.2, 0.2, 0.2, 0.5
"""Shares of slices; mirroring for each axis."""
SCALE = (0.7, 1.4)
BEND, CONTROL_POINTS = 0.01, 13
NOISY, NOISE = 0.1, (0.0, 0.1)
BLURRED, BLUR_SIGMA = 0.2, (0.5, 1.0)
BRIGHTENED, BRIGHTNESS = 0.15, (0.75, 1.25)
CONTRASTED, CONTRAST = 0.15, (0.75, 1.25)
COARSENED, ZOOM = 0.25, (0.5, 1.0)
INVERTED_GAMMA, PLAIN_GAMMA, GAMMA = 0.1, 0.3, (0.7, 1.5)
CHANNELS = 0.5
"""Share of the channels of a slice that is blurred or coarsened."""


def weak_augmentation(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Maps of the field's weak augmentation: half of the time a random 90-degree rotation with a flip, else +-20 degrees.

    SSL4MIS (code/dataloaders/dataset.py, RandomGenerator), where half of those that are not turned by 90 degrees stay as they are: here all
    of them are rotated.
    Returns (n, 2, 3): augmented pixel (row, column, 1) to source pixel (row, column), about the centre of size x size pixels.
    """
    draw = torch.rand(4, n, generator=generator)
    quarter = torch.floor(draw[0] * 4) * (torch.pi / 2)
    free = (draw[1] * 2 - 1) * torch.deg2rad(torch.tensor(MAX_ROTATION_DEGREES))
    turns = draw[2] < 0.5
    angle = torch.where(turns, quarter, free)
    flip_rows = torch.where(turns & (draw[3] < 0.5), -1.0, 1.0)
    flip_columns = torch.where(turns & (draw[3] >= 0.5), -1.0, 1.0)
    return _about_centre(angle, flip_rows, flip_columns, size)


def strong_geometry(n: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rotations, scalings and mirrorings as ``weak_augmentation`` gives them, and elastic displacements.

    Returns the maps (n, 2, 3), and (n, 2, size, size): what is added to the source pixel (row, column) of each augmented pixel; zero in
    slices that are not bent.
    """
    draw = torch.rand(9, n, generator=generator)
    angle = torch.where(draw[0] < ROTATED, (draw[1] * 2 - 1) * torch.pi, 0.0)
    scale = torch.where(draw[2] < SCALED, _about_one(draw[3], draw[4], SCALE), 1.0)
    flips = torch.where(draw[5:7] < MIRRORED, -scale, scale)
    amount = torch.where(draw[7] < BENT, draw[8] * BEND * size, 0.0)
    control = torch.randn(n, 2, CONTROL_POINTS, CONTROL_POINTS, generator=generator)
    bent = F.interpolate(control, (size, size), mode="bicubic", align_corners=True) * amount[:, None, None, None]
    return _about_centre(angle, flips[0], flips[1], size), bent


def _about_centre(angle: Tensor, rows: Tensor, columns: Tensor, size: int) -> Tensor:
    """(n, 2, 3) maps that rotate, and before that multiply rows and columns, about the centre of size x size pixels."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    linear = torch.stack(
        [
            torch.stack([cos * rows, -sin * columns], -1),
            torch.stack([sin * rows, cos * columns], -1),
        ],
        -2,
    )
    centre = torch.full((2,), (size - 1) / 2)
    return torch.cat([linear, (centre - linear @ centre)[..., None]], -1)


def _about_one(side: Tensor, draw: Tensor, span: tuple[float, float]) -> Tensor:
    """Factors: half of them between the span's low end and 1, half between 1 and its high end. side, draw: uniform in [0, 1)."""
    low, high = span
    return torch.where(side < 0.5, low + draw * (1 - low), 1 + draw * (high - 1))


def strong_intensities(image: Tensor, generator: torch.Generator) -> Tensor:
    """Images (N, C, P, P) in [0, 1] with noise, blur, other brightness and contrast, coarser, and with other gamma; nothing moves.

    What is done to which slice comes from the generator, which is one of the host.
    """
    n, channels, size, _ = image.shape

    def chosen(share: float, of_channels: float = 1.0) -> Tensor:
        """Planes (slice by slice, channel by channel) of a share of the slices."""
        some = torch.rand(n, 1, generator=generator) < share
        return (some & (torch.rand(n, channels, generator=generator) < of_channels)).flatten().nonzero().flatten()

    def drawn(planes: Tensor, span: tuple[float, float]) -> Tensor:
        low, high = span
        return low + torch.rand(len(planes), 1, 1, generator=generator) * (high - low)

    def factors(planes: Tensor, span: tuple[float, float]) -> Tensor:
        side, draw = torch.rand(2, len(planes), 1, 1, generator=generator)
        return _about_one(side, draw, span)

    planes = image.flatten(0, 1)
    some = chosen(NOISY)
    noise = torch.randn(len(some), size, size, generator=generator) * drawn(some, NOISE)
    planes = _changed(planes, some, lambda x, amount: x + amount * _spread(x), noise)
    some = chosen(BLURRED, CHANNELS)
    planes = _changed(planes, some, lambda x, sigma: blur(x[:, None], sigma[:, None])[:, 0], drawn(some, BLUR_SIGMA))
    some = chosen(BRIGHTENED)
    planes = _changed(planes, some, torch.mul, drawn(torch.arange(n), BRIGHTNESS)[some // channels])
    some = chosen(CONTRASTED)
    planes = _changed(planes, some, _contrast, factors(some, CONTRAST))
    some = chosen(COARSENED, CHANNELS)
    for plane, zoom in zip(some, drawn(some, ZOOM).flatten().tolist(), strict=True):
        planes = _changed(planes, plane[None], lambda x, side: _coarse(x, int(side)), torch.tensor(round(zoom * size)))
    for share, sign in ((INVERTED_GAMMA, -1), (PLAIN_GAMMA, 1)):
        some = chosen(share)
        planes = _changed(planes, some, partial(_gamma, sign=sign), factors(some, GAMMA))
    return planes.clamp(0, 1).view(image.shape)


def _changed(planes: Tensor, some: Tensor, change: Callable[[Tensor, Tensor], Tensor], amount: Tensor) -> Tensor:
    """The planes, those numbered in ``some`` as ``change`` makes them with ``amount``."""
    if not len(some):
        return planes
    rows = to_device(some, planes.device)
    return planes.index_copy(0, rows, change(planes[rows], to_device(amount, planes.device)))


def _spread(planes: Tensor) -> Tensor:
    return planes.std((1, 2), correction=0, keepdim=True)


def _contrast(planes: Tensor, factor: Tensor) -> Tensor:
    """Distances from each plane's mean times a factor, within its range."""
    mean = planes.mean((1, 2), keepdim=True)
    return torch.clamp((planes - mean) * factor + mean, planes.amin((1, 2), keepdim=True), planes.amax((1, 2), keepdim=True))


def _coarse(planes: Tensor, side: int) -> Tensor:
    """Planes as if they had been taken at side x side pixels: sampled at the nearest pixel, brought back with cubic interpolation."""
    small = F.interpolate(planes[:, None], (side, side), mode="nearest-exact")
    return F.interpolate(small, planes.shape[1:], mode="bicubic", align_corners=False)[:, 0]


def _gamma(planes: Tensor, gamma: Tensor, sign: int) -> Tensor:
    """Planes to the power of gamma within their range, with the mean and the spread that they had; sign -1: their negatives."""
    planes = sign * planes
    mean, spread = planes.mean((1, 2), keepdim=True), _spread(planes)
    low = planes.amin((1, 2), keepdim=True)
    span = planes.amax((1, 2), keepdim=True) - low
    raised = ((planes - low) / (span + 1e-7)) ** gamma
    return sign * ((raised - raised.mean((1, 2), keepdim=True)) / (_spread(raised) + 1e-8) * spread + mean)


def blur(image: Tensor, sigma: Tensor, radius: int = 4) -> Tensor:
    """Gaussian blur of each image (N, C, H, W) by its own sigma (N, 1, 1, 1), cut off at ``radius``, pixels; edges are reflected."""
    n, channels, height, width = image.shape
    radius = min(radius, height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.softmax(-(offsets**2) / (2 * sigma.view(n, 1) ** 2), 1).repeat_interleave(channels, 0)
    flat = F.pad(image.reshape(1, n * channels, height, width), (radius,) * 4, mode="reflect")
    rows = F.conv2d(flat, kernel[:, None, :, None], groups=n * channels)
    return F.conv2d(rows, kernel[:, None, None, :], groups=n * channels).reshape(image.shape)
