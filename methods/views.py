"""Views of a batch: intensity changes, CutMix, boxes, noise. Batched tensor programs; all randomness is torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor

from datasets.augmentation import blur

JITTER, JITTER_SHARE = 0.5, 0.8
BLUR_SIGMA, BLUR_SHARE = (0.1, 2.0), 0.5
CUTMIX_SHARE, CUTMIX_AREA, CUTMIX_RATIO = 0.5, (0.02, 0.4), (0.3, 1 / 0.3)


def strong_view(image: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 1] with other brightness and contrast (80 % of them) and blurred (half of them); nothing moves.

    UniMatch (Yang et al., CVPR 2023; its ACDC recipe): ColorJitter(.5, .5, .5, .25), of which grey images have brightness and contrast,
    and a Gaussian blur of sigma .1 to 2 pixels.
    """
    n = len(image)
    brightness, contrast = (1 + _uniform(n, image, -JITTER, JITTER) for _ in range(2))
    changed = (image * brightness).clamp(0, 1)
    mean = changed.mean((1, 2, 3), keepdim=True)
    changed = ((changed - mean) * contrast + mean).clamp(0, 1)
    image = torch.where(_uniform(n, image, 0, 1) < JITTER_SHARE, changed, image)
    return torch.where(_uniform(n, image, 0, 1) < BLUR_SHARE, blur(image, _uniform(n, image, *BLUR_SIGMA)), image)


def noisy(image: Tensor, std: float) -> Tensor:
    """Images with Gaussian noise of ``std``, clipped at twice that (SSL4MIS)."""
    return image + (torch.randn_like(image) * std).clamp(-2 * std, 2 * std)


def cutmix_boxes(image: Tensor) -> Tensor:
    """(N, H, W) bool, true in a random box for half of the images: 2 to 40 % of the area, sides in a ratio of .3 to 1/.3 (UniMatch)."""
    n, size = len(image), image.shape[-2:]
    area, ratio = _uniform(n, image, *CUTMIX_AREA), _uniform(n, image, *CUTMIX_RATIO)
    chosen = _uniform(n, image, 0, 1) < CUTMIX_SHARE
    sides = [((area * r).sqrt() * side).clamp(1, side) for r, side in zip((ratio, 1 / ratio), size, strict=True)]
    return boxes(image, sides[0], sides[1]) & chosen[:, 0]


def boxes(image: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """(N, H, W) bool, true in a box of (N, 1, 1, 1) pixels high and wide at a random place inside each image."""
    inside = []
    for axis, side in ((-2, height), (-1, width)):
        first = torch.rand(len(image), 1, 1, 1, device=image.device) * (image.shape[axis] - side)
        at = torch.arange(image.shape[axis], device=image.device)
        at = at[:, None] if axis == -2 else at
        inside.append((at >= first.round()) & (at < (first + side).round()))
    return (inside[0] & inside[1])[:, 0]


def paste(box: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """``inner`` where ``box`` (N, H, W) is true, ``outer`` elsewhere; images (N, C, H, W) or maps (N, H, W)."""
    return torch.where(box[:, None] if inner.dim() == 4 else box, inner, outer)


def _uniform(n: int, image: Tensor, low: float, high: float) -> Tensor:
    """(n, 1, 1, 1) uniform numbers."""
    return low + (high - low) * torch.rand(n, 1, 1, 1, device=image.device)
