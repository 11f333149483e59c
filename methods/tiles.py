"""Contrast of pixels inside tiles of feature maps, where tiles of several slices and networks meet."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.slices import IGNORE

TILE, SLICES = 8, 4
"""Cells along a tile's side; slices whose tiles meet."""


def tiles(cells: Tensor, fill: float) -> Tensor:
    """(N, h, w, E) as tiles (N, T, TILE * TILE, E) that cover all of it; what is missing at the edge is ``fill``."""
    n, height, width, size = cells.shape
    padded = F.pad(cells, (0, 0, 0, -width % TILE, 0, -height % TILE), value=fill)
    split = padded.view(n, padded.shape[1] // TILE, TILE, padded.shape[2] // TILE, TILE, size)
    return split.permute(0, 1, 3, 2, 4, 5).reshape(n, -1, TILE * TILE, size)


def meetings(cells: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles (N, 2, T, M, E) of slices and networks, label (N, 2, T, M), as (groups * T, SLICES * 2 * M, E): one of each that meet.

    Slices form random groups; which tile of a slice and network meets which of the others is random too.
    """
    missing = -len(cells) % SLICES
    cells, label = F.pad(cells, (0, 0) * 4 + (0, missing)), F.pad(label, (0, 0) * 3 + (0, missing), value=float(IGNORE))
    n, networks, count = label.shape[:3]
    order = torch.rand(n, networks, count, device=label.device).argsort(2)
    place = torch.randperm(n, device=label.device)[:, None, None], torch.arange(networks, device=label.device)[:, None], order
    met = (
        x[place].unflatten(0, (-1, SLICES)).flatten(1, 2).transpose(1, 2).flatten(0, 1).flatten(1, 2) for x in (cells, label)
    )
    return next(met), next(met)


def balanced_contrast(vectors: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Supervised contrast (Khosla et al., NeurIPS 2020, eq. 2) with every class of equal weight in denominators (MCSC's SupConLoss).

    vectors: unit, (T, M, E), contrasted inside each of T. label: (T, M), IGNORE takes no part. Mean over members (one that is alone in its
    class counts 0), then over those T that hold more than background; 0 where none does.
    """
    valid = label != IGNORE
    others = valid[:, None, :] & ~torch.eye(label.shape[1], dtype=torch.bool, device=label.device)
    same = others & (label[:, :, None] == label[:, None, :])
    count = same.sum(2)
    similarity = vectors @ vectors.mT / temperature
    balance = (count[:, None, :] + 1 - same.int()).clamp(min=1).log()
    total = torch.logsumexp((similarity - balance).masked_fill(~others, -1e9), 2, keepdim=True)
    total = torch.logaddexp(total, total.new_tensor(math.log(1e-6)))
    loss = -((similarity - total) * same).sum(2) / (count + 1e-6)
    mean = (loss * valid).sum(1) / valid.sum(1).clamp(min=1)
    shown = (valid & (label > 0)).any(1)
    return (mean * shown).sum() / shown.sum().clamp(min=1)
