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


def balanced_contrast(vectors: Tensor, label: Tensor, classes: int, temperature: float) -> Tensor:
    """Supervised contrast (Khosla et al., NeurIPS 2020, eq. 2) with every class of equal weight in denominators (MCSC's SupConLoss).

    vectors: unit, (T, M, E), contrasted inside each of T. label: (T, M), IGNORE takes no part. Mean over members (one that is alone in its
    class counts 0), then over those T that hold more than background; 0 where none does. Sums over a class are matrix products: of the
    pairs only their exponentials are kept.
    """
    member = (label[..., None] == torch.arange(classes, device=label.device)).to(vectors.dtype)
    count = member.sum(1, keepdim=True)
    mates = (member * (count - 1)).sum(2)
    near = ((member @ (member.mT @ vectors) - vectors) * vectors).sum(2) / temperature
    shift = vectors.new_full((label.shape[1],) * 2, -1 / temperature).fill_diagonal_(-1e9)
    pairs = torch.baddbmm(shift, vectors, vectors.mT, alpha=1 / temperature).exp()
    total = (pairs @ member / (count - member).clamp(min=1)).sum(2) + 1e-6 * math.exp(-1 / temperature)
    total = total.clamp(min=1e-30).log() + 1 / temperature
    loss = (total * mates - near).where(mates > 0, 0) / (mates + 1e-6)
    valid = member.sum(2)
    mean = loss.sum(1) / valid.sum(1).clamp(min=1)
    shown = (member[..., 1:] > 0).any(2).any(1)
    return (mean * shown).sum() / shown.sum().clamp(min=1)
