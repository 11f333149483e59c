"""How alike two images are: local and global correlation, and a template's correlation at all shifts. Signed, in [-1, 1]."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Similarity = Literal["lncc", "ncc"]
"""Local normalised cross-correlation, or correlation over the whole region."""

EPSILON = 1e-4


class _WindowSum(torch.autograd.Function):
    """Sum over a window about every point, as shifted additions: six times as fast on a CPU as average pooling, and its own adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int, int]) -> Tensor:
        ctx.window = window
        for axis, width in zip((2, 3, 4), window, strict=True):
            total = x.clone()
            for shift in range(1, width // 2 + 1):
                rest = x.shape[axis] - shift
                total.narrow(axis, shift, rest).add_(x.narrow(axis, 0, rest))
                total.narrow(axis, 0, rest).add_(x.narrow(axis, shift, rest))
            x = total
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _WindowSum.apply(gradients[0], ctx.window), None


def box(x: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Mean over a window about every point, of what lies inside the grid. (N, C, d, h, w)."""
    count = _WindowSum.apply(x.new_ones(1, 1, *x.shape[2:]), window)
    return _WindowSum.apply(x, window) / count


def correlation(a: Tensor, b: Tensor, weight: Tensor, window: tuple[int, int, int], kind: Similarity) -> Tensor:
    """Normalised cross-correlation with ``weight``; (N, 1, d, h, w) each, to (N,).

    kind: "lncc" averages the correlation over the window about every point; "ncc" is one correlation over the whole region.
    """
    w = weight[:, 0]
    total = w.sum((1, 2, 3)) + EPSILON
    products = torch.cat([a, b, a * a, b * b, a * b], 1)
    if kind == "ncc":
        mean_a, mean_b, square_a, square_b, product = ((products * weight).sum((2, 3, 4)) / total[:, None]).unbind(1)
    else:
        mean_a, mean_b, square_a, square_b, product = box(products, window).unbind(1)
    spread = (square_a - mean_a**2).clamp(min=0) * (square_b - mean_b**2).clamp(min=0)
    value = (product - mean_a * mean_b) / torch.sqrt(spread + EPSILON**2)
    return value if kind == "ncc" else (value * w).sum((1, 2, 3)) / total


def soften(mask: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Organs and a soft margin around them."""
    return box(box(F.max_pool3d(mask, list(window), 1, [n // 2 for n in window]), window), window)


def normalise_locally(image: Tensor, inside: Tensor, window: tuple[int, int, int]) -> Tensor:
    """(image - local mean) / local spread, 0 outside the field of view."""
    mean, square = box(image, window), box(image * image, window)
    return (image - mean) / torch.sqrt((square - mean * mean).clamp(min=0) + 0.03**2) * inside


def template_correlation(fixed: Tensor, inside: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
    """Weighted NCC of templates (M, 1, d, h, w) with an image (1, 1, D, H, W) at all shifts: (M, D, H, W).

    A shift needs 60 % of the template's weight inside the image. One convolution an image takes all templates at once.
    """
    padding = [n // 2 for n in weight.shape[2:]]

    def slide(image: Tensor, *kernels: Tensor) -> tuple[Tensor, ...]:
        return F.conv3d(image, torch.cat(kernels), padding=padding)[0].chunk(len(kernels))

    total, sum_m, sum_mm = slide(inside, weight, weight * moving, weight * moving * moving)
    sum_t, sum_tm = slide(fixed, weight, weight * moving)
    (sum_tt,) = slide(fixed * fixed, weight)
    some = total.clamp(min=EPSILON)
    covariance = sum_tm - sum_m * sum_t / some
    spread = (sum_mm - sum_m**2 / some).clamp(min=0) * (sum_tt - sum_t**2 / some).clamp(min=0)
    enough = total > 0.6 * weight.sum((1, 2, 3, 4))[:, None, None, None]
    return (covariance / torch.sqrt(spread + EPSILON)).where(enough, -1.0)
