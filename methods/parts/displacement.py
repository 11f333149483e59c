"""Displacement of ABD: the least sure patch of an image gives way to a sure one of another view."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GRID, SUREST = 4, 4
"""Patches along a side; how many sure patches may replace an unsure one."""


@torch.no_grad()
def displaced(image: Tensor, other: Tensor, own: Tensor, offered: Tensor, nearest: Tensor) -> Tensor:
    """``image`` (N, C, H, W) with its least sure patch replaced by a sure one of ``other``.

    own, offered: logits (N, K, H, W) of both, whose top probabilities say how sure each patch is. nearest: (N,) bool: true takes, of the
    SUREST patches of ``other``, the one whose softmax of mean logits is nearest (KL) to that of the patch replaced; false the surest.
    """
    n = torch.arange(len(image), device=image.device)
    unsure = patch_means(torch.softmax(own, 1).amax(1, keepdim=True))[:, 0].argmin(1)
    sure = patch_means(torch.softmax(offered, 1).amax(1, keepdim=True))[:, 0].topk(SUREST).indices
    wanted = F.log_softmax(patch_means(own)[n, :, unsure], 1)[:, None]
    found = F.log_softmax(patch_means(offered).mT[n[:, None], sure], 2)
    closest = (wanted.exp() * (wanted - found)).sum(2).argmin(1)
    source = sure[n, closest.where(nearest, 0)]
    height, width = (side // GRID for side in image.shape[-2:])
    rows, columns = torch.arange(height, device=image.device)[:, None], torch.arange(width, device=image.device)
    to, taken = (
        (n[:, None, None], slice(None), patch // GRID * height + rows, patch % GRID * width + columns)
        for patch in (unsure[:, None, None], source[:, None, None])
    )
    result = image.clone()
    result[to] = other[taken]
    return result


def patch_means(maps: Tensor) -> Tensor:
    """Means (N, K, GRID * GRID) of maps (N, K, H, W) over patches."""
    return F.adaptive_avg_pool2d(maps, GRID).flatten(2)
