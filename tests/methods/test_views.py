"""Views: what moves, what does not, and how much."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from datasets.augmentation import blur
from methods.parts.views import boxes, cut_off_boxes, cut_out, cutmix_boxes, noisy, paste, strong_view


def images(n: int = 6, channels: int = 1, size: int = 40) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_blur_is_that_of_scipy_with_a_sigma_for_each_image() -> None:
    image, sigma = images(3, 2), torch.tensor([0.3, 1.0, 1.4])
    found = blur(image, sigma.view(3, 1, 1, 1), 4).numpy()
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


def test_blur_of_a_strong_view_scales_with_the_image() -> None:
    """A step becomes a slope whose width (standard deviation of its derivative) is the same share of the side at any size."""
    widths = []
    for size in (128, 512):
        torch.manual_seed(0)
        edge = torch.where(torch.arange(size) < size // 2, 0.25, 0.75).expand(300, 1, size, size)
        slope = strong_view(edge)[:, 0, 0].diff(dim=1)
        slope = slope / slope.sum(1, keepdim=True)
        variance = slope @ (torch.arange(1 - size / 2, size / 2) ** 2)
        widths.append(float(variance.mean().sqrt()) / size)
    assert widths[0] > 0.002 and 0.85 < widths[0] / widths[1] < 1.1


def test_a_cut_out_is_black_and_white_noise_in_a_box_of_half_of_the_images() -> None:
    torch.manual_seed(0)
    image = 0.2 + 0.5 * images(600, size=50)
    changed, box = cut_out(image)
    assert 0.42 < float(box.flatten(1).any(1).float().mean()) < 0.58 and 0.05 < float(box.float().mean()) < 0.1
    assert torch.equal(changed[:, 0][~box], image[:, 0][~box])
    noise = changed[:, 0][box]
    assert set(noise.unique().tolist()) == {0.0, 1.0} and 0.45 < float(noise.mean()) < 0.55


def test_boxes_lie_inside_and_paste_takes_from_them() -> None:
    torch.manual_seed(0)
    image = images(100, size=30)
    side = torch.full((100, 1, 1), 20.0)
    found = boxes(image, side, side)
    assert (found.flatten(1).sum(1) == 400).all()
    inner, outer = torch.ones(100, 1, 30, 30), torch.zeros(100, 1, 30, 30)
    assert torch.equal(paste(found, inner, outer)[:, 0].bool(), found)
    assert torch.equal(paste(found, inner[:, 0].long(), outer[:, 0].long()).bool(), found)


def test_noise_has_its_width_and_is_clipped_at_twice_that() -> None:
    torch.manual_seed(0)
    added = noisy(torch.zeros(10, 1, 50, 50), 0.1)
    assert added.abs().max() <= 0.2 and 0.08 < float(added.std()) < 0.1 and abs(float(added.mean())) < 0.01


def test_boxes_that_are_cut_off_have_one_size_inside_the_image() -> None:
    """Away from the edges every box of a batch is as high and wide as the others; centres lie behind the first eighth."""
    torch.manual_seed(3)
    box = cut_off_boxes(torch.zeros(400, 1, 40, 60))
    for axis, length in ((2, 40), (1, 60)):
        sides = box.any(axis).sum(1)
        assert sides.max() == 2 * (sides.max() // 2) and (sides == sides.max()).float().mean() > 0.1
        assert sides.min() >= sides.max() // 2 and sides.max() < length
    assert 0.2 < torch.stack([cut_off_boxes(torch.zeros(8, 1, 40, 40)).float().mean() for _ in range(50)]).mean() < 0.6
