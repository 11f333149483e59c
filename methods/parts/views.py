"""Views of a batch: intensity changes, CutMix, boxes, noise. Batched tensor programs; all randomness is torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.augmentation import blur

JITTER, JITTER_SHARE = 0.5, 0.8
BLUR_SIGMA, BLUR_SHARE, BLUR_SIDE = (0.1, 2.0), 0.5, 256
BOX_SHARE, BOX_AREA, BOX_RATIO = 0.5, (0.02, 0.4), (0.3, 1 / 0.3)
TRIES = 128
"""Boxes drawn for an image, of which the first that fits is taken; the largest square one fits with a chance of 1 in 7."""


def strong_view(image: Tensor, blurred: float = BLUR_SHARE) -> Tensor:
    """Images (N, C, H, W) in [0, 1] with other brightness and contrast (80 % of them), a share of them ``blurred``; nothing moves.

    UniMatch (Yang et al., CVPR 2023; its ACDC recipe): ColorJitter(.5, .5, .5, .25), and a Gaussian blur of sigma .1 to 2 pixels of an
    image of 256, scaled with its size.
    """
    n, scale = len(image), image.shape[-2] / BLUR_SIDE
    image = torch.where(_uniform((n, 1, 1, 1), image, 0, 1) < JITTER_SHARE, jittered(image, JITTER), image)
    sigma, radius = scale * _uniform((n, 1, 1, 1), image, *BLUR_SIGMA), max(1, round(2 * scale * BLUR_SIGMA[1]))
    return torch.where(_uniform((n, 1, 1, 1), image, 0, 1) < blurred, blur(image, sigma, radius), image)


def jittered(image: Tensor, strength: float) -> Tensor:
    """Images (N, C, H, W) in [0, 1] with brightness, then contrast, times 1 +- ``strength``: what ColorJitter does to grey ones."""
    brightness, contrast = _uniform((2, len(image), 1, 1, 1), image, 1 - strength, 1 + strength)
    changed = (image * brightness).clamp(0, 1)
    mean = changed.mean((1, 2, 3), keepdim=True)
    return ((changed - mean) * contrast + mean).clamp(0, 1)


def noisy(image: Tensor, std: float) -> Tensor:
    """Images with Gaussian noise of ``std``, clipped at twice that (SSL4MIS)."""
    return image + (torch.randn_like(image) * std).clamp(-2 * std, 2 * std)


def cutmix_boxes(image: Tensor) -> Tensor:
    """(N, H, W) bool, true in a random box for half of the images: 2 to 40 % of the area, sides in a ratio of .3 to 1/.3 (UniMatch)."""
    return _fitting_boxes(image, 1)


def cut_out(image: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) with black and white noise in a random box of half of them, and the boxes (N, H, W) bool (ABD).

    Boxes as of CutMix, but smaller ones: with every box that does not fit its area is drawn anew, too.
    """
    box = _fitting_boxes(image, TRIES)
    return paste(box, torch.randint_like(image, 2), image), box


def boxes(image: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """(N, H, W) bool, true in a box of (N, 1, 1) whole pixels high and wide at a random place inside each image."""
    room = (image.shape[-2] - height, image.shape[-1] - width)
    top, left = ((_uniform((len(image), 1, 1), image, 0, 1) * pixels).round() for pixels in room)
    return _rectangles(image, top, left, height, width)


def cut_off_boxes(image: Tensor) -> Tensor:
    """(N, H, W) bool, true in boxes of one size, of an area of Beta(4, 4), about random centres and cut off at the edges (AD-MT)."""
    side = float(torch.distributions.Beta(4.0, 4.0, validate_args=False).sample().sqrt())
    half = [int(length * side) // 2 for length in image.shape[-2:]]
    top, left = (
        torch.randint(length // 8, length, (len(image), 1, 1), device=image.device) - part
        for length, part in zip(image.shape[-2:], half, strict=True)
    )
    return _rectangles(image, top, left, 2 * half[0], 2 * half[1])


def paste(box: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """``inner`` where ``box`` (N, H, W) is true, ``outer`` elsewhere; images (N, C, H, W) or maps (N, H, W)."""
    return torch.where(box[:, None] if inner.dim() == 4 else box, inner, outer)


def _fitting_boxes(image: Tensor, areas: int) -> Tensor:
    """(N, H, W) bool, true in a box for BOX_SHARE of the images: the first of TRIES, of as many ``areas``, that lies in the image."""
    n, size = len(image), image.new_tensor(image.shape[-2:])[:, None, None]
    area, ratio = _uniform((n, areas), image, *BOX_AREA), _uniform((n, TRIES), image, *BOX_RATIO)
    side = (torch.stack([area * ratio, area / ratio]).sqrt() * size).floor().clamp(min=1)
    corner = (_uniform((2, n, TRIES), image, 0, 1) * size).floor()
    first = (corner + side <= size).all(0).int().argmax(1)
    of_each = torch.arange(n, device=image.device)
    top, left, height, width = torch.cat([corner, side])[:, of_each, first][..., None, None]
    return _rectangles(image, top, left, height, width) & (_uniform((n, 1, 1), image, 0, 1) < BOX_SHARE)


def _rectangles(image: Tensor, top: Tensor, left: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    """(N, H, W) bool, true in the rectangles, (N, 1, 1) or the same for all."""
    rows, columns = (torch.arange(side, device=image.device) for side in image.shape[-2:])
    in_rows = (rows[:, None] >= top) & (rows[:, None] < top + height)
    return in_rows & (columns >= left) & (columns < left + width)


def _uniform(shape: tuple[int, ...], image: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers."""
    return low + (high - low) * torch.rand(shape, device=image.device)
