"""Pixel contrast: against plain loops, and the rules of sampling."""

import math

import pytest
import torch
from torch.nn import functional as F

from datasets.slices import IGNORE, Batch
from methods.method import Step
from methods.parts.contrast import (
    Anchors,
    Candidates,
    ContrastHparams,
    PixelContrast,
    Positives,
    anchor_classes,
    class_mean_positives,
    info_nce,
    pixel_features,
)
from tests.methods.memory import PeakMemory

SIZE = 8


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_info_nce_equals_its_formula() -> None:
    anchors, positives, negatives = unit(3, 5), unit(3, 5, seed=1), unit(4, 5, seed=2)
    got = info_nce(anchors, positives, negatives, 0.1)
    for a, p, value in zip(anchors, positives, got, strict=True):
        top = math.exp(float(a @ p) / 0.1)
        bottom = top + sum(math.exp(float(a @ n) / 0.1) for n in negatives)
        assert float(value) == pytest.approx(-math.log(top / bottom), rel=1e-4)


def test_the_positive_is_the_mean_of_the_other_anchors() -> None:
    embedding = unit(6, 4)
    got = class_mean_positives(embedding)
    for i in range(6):
        others = torch.stack([embedding[j] for j in range(6) if j != i]).mean(0)
        assert torch.allclose(got[i], others / others.norm(), atol=1e-6)


def test_pixel_features_are_read_at_the_map_s_own_resolution() -> None:
    maps = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).view(2, 3, 2, 2)
    got = pixel_features(maps, torch.tensor([1, 0]), torch.tensor([7, 3]), torch.tensor([3, 4]), SIZE)
    assert torch.equal(got, torch.stack([maps[1, :, 1, 0], maps[0, :, 0, 1]]))


def batch(labelled: int, unlabelled: int) -> Batch:
    n = labelled + unlabelled
    label = torch.randint(0, 3, (labelled, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    return Batch(torch.zeros(n, 1, SIZE, SIZE), label, torch.arange(n), torch.eye(2, 3).expand(n, 2, 3))


def test_unlabelled_pixels_join_late_and_only_where_confident() -> None:
    hp, given = ContrastHparams(confidence=0.7, contrast_start=0.1), batch(1, 1)
    pseudo = torch.ones(1, SIZE, SIZE, dtype=torch.long)
    confidence = torch.full((1, SIZE, SIZE), 0.6)
    confidence[0, 0] = 0.8
    early = anchor_classes(given, pseudo, confidence, hp, Step(9, 100))
    late = anchor_classes(given, pseudo, confidence, hp, Step(10, 100))
    assert torch.equal(early[:1], given.label) and torch.equal(late[:1], given.label)
    assert (early[1] == IGNORE).all()
    assert (late[1, 0] == 1).all() and (late[1, 1:] == IGNORE).all()


def contrast(anchors: int = 50, negatives: int = 20) -> PixelContrast:
    torch.manual_seed(0)
    return PixelContrast([4, 6], 3, ContrastHparams(anchors=anchors, negatives=negatives))


def test_sampling_balances_classes_and_takes_both_networks() -> None:
    module = contrast(anchors=20)
    maps = [torch.randn(2, 4, SIZE, SIZE), torch.randn(2, 6, SIZE // 4, SIZE // 4)]
    classes = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.long)
    classes[:, :, 0, :] = 1
    classes[:, :, 1, :3] = 2
    groups = module._sample(maps, Candidates(classes, 1))
    assert [g.label for g in groups] == [0, 1, 2]
    assert [len(g.embedding) for g in groups] == [20, 20, 12]
    for group in groups:
        assert set(group.network.tolist()) == {0, 1}
        assert torch.equal(group.kind, group.item)  # the first of the two slices is labelled, the second told with confidence
        found = classes[group.network, group.item, group.row, group.column]
        assert (found == group.label).all()
        for i in range(len(group.embedding)):
            number = int(group.network[i])
            where = (group.item[i : i + 1], group.row[i : i + 1], group.column[i : i + 1])
            expected = module.projector(pixel_features(maps[number], *where, SIZE), number)
            assert torch.allclose(group.embedding[i], expected[0], atol=1e-6)


def test_the_loss_reaches_every_network_and_the_projector_and_falls_when_classes_separate() -> None:
    module = contrast()
    maps = [torch.randn(2, 4, SIZE, SIZE, requires_grad=True), torch.randn(2, 6, SIZE, SIZE, requires_grad=True)]
    classes = Candidates(torch.randint(0, 3, (2, SIZE, SIZE)).expand(2, -1, -1, -1), 2)
    optimiser = torch.optim.Adam([*maps, *module.parameters()], lr=0.05)
    values = []
    for _ in range(80):
        loss = module(maps, classes)
        optimiser.zero_grad()
        loss.backward()
        assert all((p.grad.abs().sum() > 0) for p in [*maps, *module.parameters()])
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.5 * values[0]


def memory_of(size: int) -> tuple[int, int, int]:
    """Bytes of two networks' features for a batch of 24, and the most that the loss and then its gradient hold beside them."""
    torch.manual_seed(0)
    leaves = [torch.randn(24, width, size, size, requires_grad=True) for width in (16, 24)]
    module = PixelContrast([16, 24], 4, ContrastHparams())
    classes = Candidates(torch.stack([torch.randint(0, 4, (24, size, size)) for _ in leaves]), 12)
    with PeakMemory() as forward:
        loss = module(leaves, classes)
    with PeakMemory() as backward:
        loss.backward()
    return sum(leaf.nbytes for leaf in leaves), forward.peak, backward.peak


def test_memory_is_bounded_by_the_sample_and_not_by_the_image() -> None:
    _, forward_64, _ = memory_of(64)
    features, forward, backward = memory_of(160)
    assert forward < 1.05 * forward_64  # six times the pixels
    assert backward < forward_64 + 2.1 * features  # the gradient of the features, and its copy into the leaves of this test


def test_one_class_alone_gives_zero_and_finite_gradients() -> None:
    module = contrast()
    maps = [torch.randn(1, 4, SIZE, SIZE, requires_grad=True), torch.randn(1, 6, SIZE, SIZE, requires_grad=True)]
    loss = module(maps, Candidates(torch.zeros(2, 1, SIZE, SIZE, dtype=torch.long), 1))
    loss.backward()
    assert float(loss.detach()) == 0


def given(module: PixelContrast, labelled: int = 1) -> tuple[list[torch.Tensor], Candidates]:
    classes = torch.randint(0, 3, (2, SIZE, SIZE), generator=torch.Generator().manual_seed(1))
    return [unit(2, 4, SIZE, SIZE), unit(2, 6, SIZE, SIZE)], Candidates(classes.expand(2, -1, -1, -1), labelled)


def loss_with(module: PixelContrast, **told: float) -> float:
    """The loss where every anchor, or none, has a registered positive about which this is told."""

    def registered(anchors: Anchors) -> Positives:
        n = len(anchors.embedding)
        label, weight = told.get("label"), told.get("weight")
        return Positives(
            unit(n, 128, seed=5),
            torch.full((n,), bool(told.get("found", True))),
            None if label is None else torch.full((n,), int(label)),
            None if weight is None else torch.full((n,), float(weight)),
        )

    torch.manual_seed(3)
    return module(*given(module), registered).item()


def test_registered_positives_change_only_the_anchors_that_have_one() -> None:
    module = contrast()
    torch.manual_seed(3)
    plain = module(*given(module)).item()
    assert loss_with(module, found=False) == pytest.approx(plain, abs=1e-7)
    assert abs(loss_with(module) - plain) > 1e-3


def test_an_anchor_weighs_what_is_told_of_it() -> None:
    module = contrast()
    assert loss_with(module, weight=0.25) == pytest.approx(0.25 * loss_with(module), rel=1e-5)


def test_negatives_of_the_registered_class_are_left_out_beside_the_registered_positive() -> None:
    """By hand: the second term's sum over negatives lacks those of class 2; for the anchors of class 2 nothing changes."""
    module = contrast(negatives=6)
    anchors, positives, negatives = unit(3, 5), unit(3, 5, seed=1), unit(4, 5, seed=2)
    left_out = torch.tensor([[True, False, False, True]]).expand(3, 4)
    got = info_nce(anchors, positives, negatives, 0.1, left_out)
    assert torch.allclose(got, info_nce(anchors, positives, negatives[1:3], 0.1), atol=1e-6)
    without_any = info_nce(anchors, positives, negatives, 0.1, torch.ones(3, 4, dtype=torch.bool))
    assert torch.allclose(without_any, torch.zeros(3), atol=1e-6)
    assert loss_with(module, label=IGNORE) == pytest.approx(loss_with(module), rel=1e-6)
    assert loss_with(module, label=2) < loss_with(module) - 1e-3
    torch.manual_seed(0)
    groups = module._sample(*given(module))
    vectors, label = module._negatives(groups[1:])
    assert [int((label == k).sum()) for k in range(3)] == [0, 3, 3]
    for vector, k in zip(vectors, label, strict=True):
        assert (groups[int(k)].embedding == vector).all(1).any()


def test_what_is_told_of_anchors_adds_up() -> None:
    module = contrast(anchors=20)
    maps, candidates = given(module)
    assert module.observations() == {f"anchors/{kind}/{k}": 0 for kind in ("labelled", "confident") for k in range(3)}
    torch.manual_seed(0)
    module(maps, candidates)
    told = module.observations()
    assert set(told) == {f"anchors/{kind}/{k}" for kind in ("labelled", "confident") for k in range(3)}
    assert [told[f"anchors/labelled/{k}"] + told[f"anchors/confident/{k}"] for k in range(3)] == [20, 20, 20]
    registered = candidates.label == 2
    registered[:, 0] = False
    torch.manual_seed(0)
    module(maps, Candidates(candidates.label, 1, registered), lambda a: Positives(a.embedding.detach(), a.item == 0))
    again = module.observations()
    assert again["anchors/registered/2"] == told["anchors/confident/2"] > 0 == again["anchors/confident/2"]
    assert again["anchors/registered/1"] == 0 and again["anchors/confident/1"] == told["anchors/confident/1"]
    assert {key: again[f"positives/{key}"] for key in ("labelled", "confident", "registered")} == {
        "labelled": 1,
        "confident": 0,
        "registered": 0,
    }
