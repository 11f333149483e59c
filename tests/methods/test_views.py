"""Views: what moves, what does not, and how much."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from datasets.augmentation import blur
from methods.views import boxes, cutmix_boxes, noisy, paste, strong_view


def images(n: int = 6, channels: int = 1, size: int = 40) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_blur_is_that_of_scipy_with_a_sigma_for_each_image() -> None:
    image, sigma = images(3, 2), torch.tensor([0.3, 1.0, 1.4])
    found = blur(image, sigma.view(3, 1, 1, 1)).numpy()
    for i in range(3):
        for c in range(2):
            radius = dict(radius=4, mode="mirror")
            expected = gaussian_filter(image[i, c].numpy(), float(sigma[i]), **radius)
            np.testing.assert_allclose(found[i, c], expected, atol=1e-5)


def test_a_strong_view_stays_in_range_moves_nothing_and_differs_between_images() -> None:
    torch.manual_seed(0)
    image = images(200)
    changed = strong_view(image)
    assert changed.min() >= 0 and changed.max() <= 1 and changed.shape == image.shape
    same = (changed == image).flatten(1).all(1).float().mean()
    assert 0.03 < float(same) < 0.2  # 20 % keep their intensities, half of those are not blurred
    ramp = torch.linspace(0.3, 0.7, 40).expand(50, 1, 40, 40)
    assert (strong_view(ramp).diff(dim=3) >= -1e-6).all(), "bright stays brighter than dark, at its place"


def test_cutmix_boxes_are_rectangles_of_the_stated_area_on_half_of_the_images() -> None:
    torch.manual_seed(0)
    found = cutmix_boxes(images(600, size=50)).numpy()
    there = found.any((1, 2))
    assert 0.42 < there.mean() < 0.58
    area = found[there].mean((1, 2))
    assert area.min() > 0.01 and area.max() < 0.45 and 0.15 < area.mean() < 0.25
    for box in found[there][:50]:
        rows, columns = box.any(1), box.any(0)
        assert box.sum() == rows.sum() * columns.sum()
    assert len({tuple(np.argwhere(box)[0]) for box in found[there]}) > 100


def test_boxes_lie_inside_and_paste_takes_from_them() -> None:
    torch.manual_seed(0)
    image = images(100, size=30)
    side = torch.full((100, 1, 1, 1), 20.0)
    found = boxes(image, side, side)
    assert (found.flatten(1).sum(1) == 400).all()
    inner, outer = torch.ones(100, 1, 30, 30), torch.zeros(100, 1, 30, 30)
    assert torch.equal(paste(found, inner, outer)[:, 0].bool(), found)
    assert torch.equal(paste(found, inner[:, 0].long(), outer[:, 0].long()).bool(), found)


def test_noise_has_its_width_and_is_clipped_at_twice_that() -> None:
    torch.manual_seed(0)
    added = noisy(torch.zeros(10, 1, 50, 50), 0.1)
    assert added.abs().max() <= 0.2 and 0.08 < float(added.std()) < 0.1 and abs(float(added.mean())) < 0.01
