"""Each shared loss against a plain, slow computation written here."""

import math

import numpy as np
import pytest
import torch

from datasets.slices import IGNORE
from methods.parts.losses import cross_entropy, dice_loss, supervised_loss


def example(seed: int, ignored: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 5, generator=generator) * 2
    target = torch.randint(0, 3, (2, 4, 5), generator=generator)
    if ignored:
        target[torch.rand(2, 4, 5, generator=generator) < 0.3] = IGNORE
    return logits, target


def slow_dice(p: np.ndarray, target: np.ndarray) -> float:
    losses = []
    for k in range(p.shape[1]):
        overlap = prediction = truth = 0.0
        for n, r, c in np.ndindex(target.shape):
            if target[n, r, c] != IGNORE:
                y = float(target[n, r, c] == k)
                overlap += p[n, k, r, c] * y
                prediction += p[n, k, r, c] ** 2
                truth += y
        losses.append(1 - (2 * overlap + 1e-5) / (prediction + truth + 1e-5))
    return sum(losses) / len(losses)


def slow_cross_entropy(p: np.ndarray, target: np.ndarray) -> float:
    values = [-math.log(p[n, target[n, r, c], r, c]) for n, r, c in np.ndindex(target.shape) if target[n, r, c] != IGNORE]
    return sum(values) / len(values)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_losses_equal_the_slow_computation(seed: int, ignored: bool) -> None:
    logits, target = example(seed, ignored)
    p = torch.softmax(logits, 1)
    dice, entropy = slow_dice(p.numpy(), target.numpy()), slow_cross_entropy(p.numpy(), target.numpy())
    assert float(dice_loss(p, target)) == pytest.approx(dice, abs=1e-5)
    assert float(cross_entropy(logits, target)) == pytest.approx(entropy, abs=1e-5)
    assert float(supervised_loss(logits, target)) == pytest.approx((dice + entropy) / 2, abs=1e-5)


def test_dice_loss_equals_monai() -> None:
    from monai.losses import DiceLoss

    logits, target = example(7, False)
    settings = {"include_background": True, "to_onehot_y": True, "softmax": True, "squared_pred": True, "batch": True}
    reference = DiceLoss(**settings, smooth_nr=1e-5, smooth_dr=1e-5)(logits, target[:, None])
    assert float(dice_loss(torch.softmax(logits, 1), target)) == pytest.approx(float(reference), abs=1e-6)


def test_ignored_pixels_get_no_gradient_and_all_ignored_is_finite() -> None:
    logits, target = example(1, True)
    logits.requires_grad_()
    supervised_loss(logits, target).backward()
    assert logits.grad is not None
    hidden = (target == IGNORE)[:, None].expand_as(logits)
    assert (logits.grad[hidden] == 0).all() and (logits.grad[~hidden] != 0).any()
    assert math.isfinite(float(supervised_loss(logits.detach(), torch.full_like(target, IGNORE))))
