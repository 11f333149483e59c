"""MCSC's contrast, and what CCT-R and `contrastive` share with code that can be read, against numbers that it gave."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from methods.parts.contrast import info_nce
from methods.parts.tiles import balanced_contrast
from tests.methods.recorded import compare, labels, normal, outcome, record


def test_balanced_contrast_of_one_tile() -> None:
    known = record("mcsc", "balanced supervised contrast of one tile of four maps")
    seed, (n, width, *size) = known["inputs"]["seed"], known["inputs"]["shape"]
    x, y = normal(seed, n, width, *size).requires_grad_(), labels(seed + 1, known["inputs"]["classes"], n, *size)
    vectors = F.normalize(x, dim=1).movedim(1, -1).reshape(1, -1, width)
    compare(known, outcome(balanced_contrast(vectors, y.view(1, -1), 4, 0.1), x), x.detach(), y)


def test_balanced_contrast_over_tiles() -> None:
    """Its loop leaves the last row and column of tiles out; so does this test, not ours."""
    known = record("mcsc", "mean over tiles, one of background alone")
    seed, shape, side = (known["inputs"][key] for key in ("seed", "shape", "block"))
    y = labels(seed + 1, 4, *shape[:2], *shape[3:])
    y[..., :side, side : 2 * side] = 0
    x = normal(seed, *shape) + 2 * normal(seed + 2, 4, shape[2])[y].movedim(-1, 2)
    corners = [(r * side, c * side) for r in range(2) for c in range(2)]
    cells = F.normalize(x, dim=2).movedim(2, -1).flatten(0, 1)
    vectors = torch.stack([cells[:, r : r + side, c : c + side].reshape(-1, shape[2]) for r, c in corners])
    label = torch.stack([y.flatten(0, 1)[:, r : r + side, c : c + side].flatten() for r, c in corners])
    compare(known, {"loss": float(balanced_contrast(vectors, label, 4, known["inputs"]["temperature"]))}, x, y)


def test_info_nce() -> None:
    known = record(
        "contrastive", "two anchors, each the other's positive, and a negative of each other class: mean over the five"
    )
    x = normal(known["inputs"]["seed"], *known["inputs"]["shape"]).requires_grad_()
    vectors = F.normalize(x, dim=1)
    loss = info_nce(vectors[:2], vectors[:2].flip(0), vectors[2:], known["inputs"]["temperature"]).sum() / len(vectors)
    compare(known, outcome(loss, x), x.detach())
