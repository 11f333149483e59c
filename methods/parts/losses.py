"""Loss terms that several methods share. Pixels labelled IGNORE (255) take no part in any of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datasets.slices import IGNORE

SMOOTHING = 1e-5
EIGHT = np.ones((3, 3), bool)


def dice_loss(probabilities: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss with squared denominators, pooled over the batch, averaged over all classes, background included.

    1 - mean_k (2 sum p_k y_k + s) / (sum p_k^2 + sum y_k^2 + s), s = 1e-5; V-Net (Milletari et al., 3DV 2016) as in SSL4MIS
    (utils/losses.py). probabilities: (N, K, H, W); target: (N, H, W) int64.
    """
    classes = torch.arange(probabilities.shape[1], device=target.device)
    truth = (target[:, None] == classes[:, None, None]).to(probabilities.dtype)
    p = probabilities * (target != IGNORE)[:, None]
    overlap = (p * truth).sum((0, 2, 3))
    total = (p * p).sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return 1 - ((2 * overlap + SMOOTHING) / (total + SMOOTHING)).mean()


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over pixels that are not IGNORE; 0 where there are none. logits: (N, K, H, W); target: (N, H, W) int64."""
    valid = (target != IGNORE).sum()
    return F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum") / valid.clamp(min=1)


def supervised_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1/2 (CE + Dice), the field's supervised term."""
    return (cross_entropy(logits, target) + dice_loss(torch.softmax(logits, 1), target)) / 2


def largest_components(label: Tensor) -> Tensor:
    """Of each foreground class of each slice only the largest connected component (8 neighbours): (N, H, W) int64, the rest is 0.

    SciPy on the CPU: labelling components is a sequential search, and a slice takes less than a millisecond.
    """
    from scipy import ndimage

    found = label.cpu().numpy()
    kept = np.zeros_like(found)
    for index, plane in enumerate(found):
        for k in np.unique(plane[plane > 0]):
            parts, count = ndimage.label(plane == k, EIGHT)
            sizes = np.bincount(parts.ravel(), minlength=count + 1)
            kept[index][parts == 1 + sizes[1:].argmax()] = k
    return torch.from_numpy(kept).to(label.device)


def most_likely(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Top probability and class (N, H, W) float and int64 of (N, K, H, W), detached; the first class wins a tie.

    The same as ``max(1)``, which takes ten times as long over a strided axis on a CPU.
    """
    best, label = probabilities.detach()[:, 0], torch.zeros_like(probabilities[:, 0], dtype=torch.long)
    for k in range(1, probabilities.shape[1]):
        rival = probabilities.detach()[:, k]
        label = torch.where(rival > best, k, label)
        best = torch.maximum(best, rival)
    return best, label
