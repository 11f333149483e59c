"""Strong augmentation: how often and how much, that labels go where images go, and that the weak one is what it was."""

import numpy as np
import pytest
import torch

from benchmark.conformance.subject import Subject, train
from benchmark.conformance.task import made_up_task
from benchmark.ground.protocol import get_protocol
from benchmark.ground.registry import load
from datasets import augmentation, slices
from datasets.augmentation import strong_geometry, strong_intensities
from datasets.slices import SliceBank

SIZE = 48
WEAK_SLICES, WEAK_MAPS, WEAK_IMAGE, WEAK_LABEL = [2, 0, 7, 5, 11, 13, 10, 12], 243.7469562927829, 3322.1156332221435, 4256
"""Of a batch before there was another augmentation."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def bank() -> SliceBank:
    return made_up_task(side=SIZE).bank


def test_the_weak_one_is_what_it_was(bank: SliceBank) -> None:
    batch = bank.batch(3, 5, 4, 4)
    assert batch.displacement is None and batch.slice.tolist() == WEAK_SLICES
    assert float(batch.to_slice.double().sum()) == pytest.approx(WEAK_MAPS, rel=1e-6)
    assert float(batch.image.double().sum()) == pytest.approx(WEAK_IMAGE, rel=1e-6) and int(batch.label.sum()) == WEAK_LABEL
    assert "augmentation" not in get_protocol("quick").model_dump()


def test_shares_and_ranges_of_what_moves() -> None:
    n = 8000
    maps, bent = strong_geometry(n, SIZE, generator())
    linear = maps[:, :, :2]
    scale = torch.linalg.det(linear).abs().sqrt()
    scaled = (scale - 1).abs() > 1e-5
    assert scaled.float().mean() == pytest.approx(0.2, abs=0.02)
    assert (
        scale.min() >= 0.7 - 1e-5
        and scale.max() <= 1.4 + 1e-5
        and (scale[scaled] < 1).float().mean() == pytest.approx(0.5, abs=0.04)
    )
    assert scale.min() < 0.72 and scale.max() > 1.38
    turned = linear[:, 0, 1].abs() > 1e-5
    assert turned.float().mean() == pytest.approx(0.2, abs=0.02)
    angle = torch.rad2deg(torch.atan2(linear[turned, 1, 0], linear[turned, 0, 0]))
    assert np.histogram(angle.numpy(), 8, (-180, 180))[0].min() > 0.08 * int(
        turned.sum()
    )  # any rotation, as often as any other
    assert (torch.linalg.det(linear) < 0).float().mean() == pytest.approx(0.5, abs=0.02)  # one axis of two is mirrored
    assert (linear[~turned, 0, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.02)
    centre = torch.full((2,), (SIZE - 1) / 2)
    torch.testing.assert_close(
        torch.einsum("nij,j->ni", linear, centre) + maps[:, :, 2], centre.expand(n, 2), atol=1e-4, rtol=0
    )
    moved = bent.square().mean((1, 2, 3)).sqrt() / SIZE
    assert (moved > 0).float().mean() == pytest.approx(0.2, abs=0.02) and 0.008 < moved.max() < 0.013
    fold = 1 + torch.diff(bent[moved > 0, 0], dim=1)  # rows stay in order, but for a few in ten thousand
    assert (fold <= 0).float().mean() < 1e-3


def test_a_mask_moves_with_the_image(bank: SliceBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "strong_intensities", lambda image, generator: image)
    classes = torch.where(bank.label == slices.IGNORE, 0, bank.label)
    for k in (1, 2):
        bank.image = (classes == k).float()[:, None]
        for step in range(6):
            batch = bank.batch(0, step, 8, 8, "strong")
            inside = batch.label == k
            differs = (batch.image[:8, 0] > 0.5) ^ inside
            assert inside.any() and differs.sum() <= 0.08 * inside.sum()  # bilinear against nearest, at borders
            assert torch.equal(bank.carry(bank.label, batch)[:8], batch.label)


def test_pixels_are_found_where_they_came_from_and_went_to(bank: SliceBank) -> None:
    axis = torch.arange(SIZE, dtype=torch.float32)
    bank.image = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(bank.image), 2, SIZE, SIZE).contiguous()
    n, bent = 16, 0
    points = torch.cartesian_prod(torch.arange(2, SIZE, 4), torch.arange(2, SIZE, 4))
    for step in range(8):
        batch = bank.batch(0, step, 8, 8, "strong")
        assert batch.displacement is not None
        bent += int((batch.displacement.abs().amax((1, 2, 3)) > 0).sum())
        grid = slices.sampling_grid(batch.to_slice, SIZE, batch.displacement)
        shown = torch.nn.functional.grid_sample(
            bank.image[batch.slice], grid, align_corners=False
        )  # coordinates, as images are moved
        item, pixel = torch.arange(n).repeat_interleave(len(points)), points.repeat(n, 1)
        found = batch.sources(item, pixel)
        inner = ((found > 0) & (found < SIZE - 1)).all(1)
        assert (shown[item, :, pixel[:, 0], pixel[:, 1]] - found)[inner].abs().max() <= 0.51
        there = batch.targets(n, points)
        item, target = torch.nonzero(((there >= 0) & (there < SIZE)).all(2), as_tuple=True)
        back = batch.sources(item, there[item, target])
        assert (back - points[target]).abs().max() <= 2  # a rounded pixel is up to .7 x 1.4 away, and rounded again
    assert bent > 10


def test_shares_of_what_changes_in_intensity() -> None:
    image = torch.rand(6000, 1, 16, 16, generator=generator(1)) * 0.6 + 0.2
    kept = (strong_intensities(image, generator()) == image).flatten(1).all(1).float().mean()
    nothing = 0.9 * (1 - 0.2 * 0.5) * 0.85 * 0.85 * (1 - 0.25 * 0.5) * 0.9 * 0.7
    assert kept == pytest.approx(nothing, abs=0.02)


@pytest.mark.parametrize(
    ("share", "others", "low", "high"),
    [("BRIGHTENED", "brightness", 0.75, 1.25), ("NOISY", "noise", 0.0, 0.1)],
)
def test_ranges_of_what_changes_in_intensity(
    share: str, others: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NOISY", "BLURRED", "BRIGHTENED", "CONTRASTED", "COARSENED", "INVERTED_GAMMA", "PLAIN_GAMMA"):
        monkeypatch.setattr(augmentation, name, 1.0 if name == share else 0.0)
    image = torch.rand(400, 2, 32, 32, generator=generator(1)) * 0.3 + 0.3
    changed = strong_intensities(image, generator())
    if others == "brightness":
        amount = (changed / image).mean((2, 3))
        torch.testing.assert_close(amount[:, 0], amount[:, 1])  # one factor a slice
    else:
        amount = (changed - image).std((2, 3)) / image.std((2, 3))
    assert low - 1e-3 <= amount.min() < low + 0.02 and high - 0.02 < amount.max() <= high * 1.1


def test_contrast_and_gamma_against_plain_computations() -> None:
    planes, gamma = torch.rand(3, 20, 20, generator=generator()), torch.tensor([0.7, 1.0, 1.5])[:, None, None]
    for sign in (1, -1):
        for plane, power, ours in zip(
            planes.numpy(), (0.7, 1.0, 1.5), augmentation._gamma(planes, gamma, sign).numpy(), strict=True
        ):
            x = sign * plane
            y = ((x - x.min()) / (x.max() - x.min())) ** power
            expected = sign * ((y - y.mean()) / y.std() * x.std() + x.mean())
            np.testing.assert_allclose(ours, expected, atol=1e-5)
    strong = augmentation._contrast(planes, torch.full((3, 1, 1), 1.25)).numpy()
    for plane, ours in zip(planes.numpy(), strong, strict=True):
        expected = np.clip((plane - plane.mean()) * 1.25 + plane.mean(), plane.min(), plane.max())
        np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert len(np.unique(augmentation._coarse(planes, 10).round(decimals=3))) > 100


def test_intensities_stay_in_range_and_nothing_breaks_a_blank_slice() -> None:
    for image in (torch.rand(200, 2, 24, 24, generator=generator()), torch.zeros(200, 1, 24, 24), torch.ones(200, 1, 24, 24)):
        changed = strong_intensities(image, generator())
        assert changed.shape == image.shape and changed.isfinite().all() and changed.min() >= 0 and changed.max() <= 1


def test_the_same_seed_and_step_give_the_same_bits(bank: SliceBank) -> None:
    one, again, other = (bank.batch(0, step, 4, 4, "strong") for step in (7, 7, 8))
    assert torch.equal(one.image, again.image) and torch.equal(one.label, again.label)
    assert not torch.equal(one.image, other.image)
    assert torch.equal(one.slice, bank.batch(0, 7, 4, 4).slice)  # the same slices as with the weak one


@pytest.mark.parametrize("name", ["cctr", "bcp", "unimatch", "supervised"])
def test_a_protocol_s_strong_augmentation_is_every_method_s(name: str) -> None:
    method = Subject(load("methods", name)).build(task=made_up_task(augmentation="strong"))
    assert method.augmentation == "strong"
    assert all(np.isfinite(list(terms.values())).all() for terms in train(method))


def test_supervised_may_have_it_alone_and_then_learns_as_where_all_have_it() -> None:
    supervised = Subject(load("methods", "supervised"))
    alone = supervised.build({"augmentation": "strong"})
    assert train(alone) == train(supervised.build(task=made_up_task(augmentation="strong"))) != train(supervised.build())
