"""Virtual adversarial training (Miyato et al., TPAMI 2019) on soft Dice, as in SS-Net (ycwu1997/SS-Net, code/utils/losses.py, VAT2d)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PROBE = 10.0
"""Length of the random change whose gradient points to the worst one."""


def smoothness(network: nn.Module, image: Tensor, p: Tensor, magnitude: float) -> Tensor:
    """Soft Dice loss between p (N, K, H, W) and the output for images (N, C, H, W) changed by ``magnitude`` to the worst."""
    with _kept_statistics(network):
        direction = _unit(torch.rand(image.shape, device=image.device) - 0.5).requires_grad_()
        moved = _distance(torch.softmax(network(image + PROBE * direction), 1), p)
        (gradient,) = torch.autograd.grad(moved, direction)
        return _distance(torch.softmax(network(image + magnitude * _unit(gradient)), 1), p)


@contextmanager
def _kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch normalisation goes by the batch, and its running statistics stay."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _distance(p: Tensor, q: Tensor) -> Tensor:
    overlap, total = (p * q).sum((0, 2, 3)), (p * p + q * q).sum((0, 2, 3))
    return 1 - ((2 * overlap + 1e-10) / (total + 1e-10)).mean()


def _unit(change: Tensor) -> Tensor:
    return change / (change.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-8)
