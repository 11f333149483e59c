"""Each method's own term against a slow, plain computation written here, on outputs that are given."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.ground import registry
from datasets.slices import IGNORE, Batch
from methods.bases.one_network import View
from methods.method import Step, Task
from methods.parts.displacement import GRID, SUREST, displaced
from methods.parts.losses import largest_components, supervised_loss
from methods.parts.tiles import balanced_contrast, meetings, tiles
from methods.unimatch import PerturbedView

STEP = Step(15, 20)
RAMP = math.exp(-5 * (1 - 15 / 20) ** 2)
SHAPE = (3, 4, 32, 32)


def outputs(seed: int, shape: tuple[int, ...] = SHAPE, sharp: float = 3.0) -> Tensor:
    """Class probabilities of an imagined network."""
    return torch.softmax(sharp * torch.randn(shape, generator=torch.Generator().manual_seed(seed)), 1)


class Given:
    """A method whose networks answer with given outputs, one after the other, and a batch for it."""

    def __init__(self, make_task: Callable[..., Task], name: str, answers: list[Tensor], taught: list[Tensor], **hparams: Any):
        self.method: Any = registry.load("methods", name)(make_task(), registry.load("methods", name).Hparams(**hparams))  # type: ignore[attr-defined]
        logits = iter([a.log() for a in answers])
        told = iter(taught)
        self.method.network.forward = lambda image: next(logits)
        if taught:
            self.method.taught = lambda image: next(told)
        self.batch: Batch = self.method.task.bank.batch(0, 3, 3, 3)
        p = outputs(0)
        full = torch.cat([outputs(99), p])
        self.view = View([], [], torch.zeros(0), full.log(), p)
        self.p = p.numpy()

    def terms(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.method.extra(self.view, self.batch, STEP).items()}


def squares(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of squared differences, a number at a time."""
    values = [(x - y) ** 2 for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)]
    return sum(values) / len(values)


def halves(p: Tensor, label: np.ndarray) -> float:
    """1/2 (CE + Dice), which test_losses holds against a slow computation."""
    return float(supervised_loss(p.log(), torch.from_numpy(label)))


def test_mean_teacher(make_task: Callable[..., Task]) -> None:
    given = Given(make_task, "mean_teacher", [], [outputs(1)], consistency=0.7)
    assert given.terms() == {"consistency": pytest.approx(0.7 * RAMP * squares(given.p, outputs(1).numpy()), rel=1e-5)}


def test_ua_mt_counts_pixels_where_the_mean_of_the_passes_is_sure(make_task: Callable[..., Task]) -> None:
    target, passes = outputs(1), outputs(2, (15, *SHAPE[1:]), 6.0)
    given = Given(make_task, "ua_mt", [], [target, passes], consistency=1, passes=5, threshold=0.5)
    limit, total, count = (0.5 + 0.5 * RAMP) * math.log(4), 0.0, 0
    runs = passes.numpy().reshape(5, *SHAPE)
    for n, r, c in np.ndindex(3, 32, 32):
        mean = [float(runs[:, n, k, r, c].mean()) for k in range(4)]
        if -sum(m * math.log(m + 1e-6) for m in mean) < limit:
            total += sum((float(given.p[n, k, r, c]) - float(target[n, k, r, c])) ** 2 for k in range(4)) / 2
            count += 1
    assert 0 < count < 3 * 32 * 32
    assert given.terms()["consistency"] == pytest.approx(RAMP * total / count, rel=1e-4)


def test_entropy_min(make_task: Callable[..., Task]) -> None:
    given = Given(make_task, "entropy_min", [], [], entropy=0.5)
    everything = torch.cat([outputs(99), outputs(0)]).ravel().tolist()
    entropy = sum(-x * math.log(x + 1e-6) for x in everything) / (6 * 32 * 32)
    assert given.terms()["entropy"] == pytest.approx(0.5 * RAMP * entropy / math.log(4), rel=1e-5)


def test_ict_mixes_halves_and_their_targets_alike(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three unlabelled slices the first two with the last two, each pair by its own share; the student sees labelled ones and mixes."""
    given = Given(make_task, "ict", [], [outputs(1)[:2], outputs(2)[:2]], consistency=1)
    share = torch.tensor([0.3, 0.6]).view(2, 1, 1, 1)
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: share.view(shape))
    seen: list[Tensor] = []
    answer = View([], [], torch.zeros(0), outputs(99).log(), outputs(3)[:2])
    given.method.view = lambda image, labelled: (seen.append(image), answer)[1]
    terms = given.method.losses(given.batch, STEP)
    first, second = outputs(1)[:2].numpy(), outputs(2)[:2].numpy()
    mixed = np.stack([0.7 * first[0] + 0.3 * second[0], 0.4 * first[1] + 0.6 * second[1]])
    assert float(terms["consistency"]) == pytest.approx(RAMP * squares(outputs(3)[:2].numpy(), mixed), rel=1e-4)
    assert float(terms["supervised"]) == pytest.approx(halves(outputs(99), given.batch.label.numpy()), rel=1e-5)
    image = given.batch.image
    assert torch.equal(seen[0][:3], image[:3])
    assert torch.allclose(seen[0][3], 0.7 * image[3] + 0.3 * image[4], atol=1e-6)
    assert torch.allclose(seen[0][4], 0.4 * image[4] + 0.6 * image[5], atol=1e-6)


def flood(label: np.ndarray, start: tuple[int, int]) -> set[tuple[int, int]]:
    """The connected pixels of one class, found by walking like a king."""
    found, todo = set(), [start]
    while todo:
        r, c = todo.pop()
        if (r, c) in found or not (0 <= r < label.shape[0] and 0 <= c < label.shape[1]) or label[r, c] != label[start]:
            continue
        found.add((r, c))
        todo += [(r + down, c + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return found


def largest_only(label: np.ndarray) -> np.ndarray:
    kept = np.zeros_like(label)
    for n, plane in enumerate(label):
        for k in range(1, 4):
            parts: list[set[tuple[int, int]]] = []
            for at in zip(*np.nonzero(plane == k), strict=True):
                if not any(at in part for part in parts):
                    parts.append(flood(plane, (int(at[0]), int(at[1]))))
            for r, c in max(parts, key=len, default=set()):
                kept[n, r, c] = k
    return kept


def smooth_outputs(seed: int) -> Tensor:
    """Outputs with regions rather than noise."""
    coarse = torch.randn((3, 4, 6, 6), generator=torch.Generator().manual_seed(seed))
    return torch.softmax(4 * F.interpolate(coarse, (32, 32), mode="bilinear"), 1)


def test_largest_components_equal_a_walk_over_pixels() -> None:
    label = smooth_outputs(4).argmax(1)
    kept = largest_components(label).numpy()
    np.testing.assert_array_equal(kept, largest_only(label.numpy()))
    assert (kept != label.numpy()).any()


def test_ema_self_training(make_task: Callable[..., Task]) -> None:
    taught = smooth_outputs(4)
    given = Given(make_task, "ema_self_training", [], [taught], pseudo=1)
    label = largest_only(taught.numpy().argmax(1))
    assert given.terms()["pseudo"] == pytest.approx(RAMP * halves(torch.from_numpy(given.p), label), rel=1e-5)


def sure_labels(p: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(p.max(1) >= threshold, p.argmax(1), IGNORE)


def test_fixmatch_learns_from_sure_pixels_alone(make_task: Callable[..., Task]) -> None:
    given = Given(make_task, "fixmatch", [outputs(3)], [], consistency=1, threshold=0.9)
    label = sure_labels(given.p, 0.9)
    assert 0 < (label == IGNORE).mean() < 1
    assert given.terms()["consistency"] == pytest.approx(RAMP * halves(outputs(3), label), rel=1e-5)


def slow_dice(p: np.ndarray, label: np.ndarray) -> float:
    known = label != IGNORE
    losses = []
    for k in range(p.shape[1]):
        q, y = p[:, k][known].astype(float), (label[known] == k).astype(float)
        losses.append(1 - (2 * (q * y).sum() + 1e-5) / ((q * q).sum() + y.sum() + 1e-5))
    return float(np.mean(losses))


def test_unimatch(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fixed box: both strong views learn labels mixed with those of settled neighbours, the perturbed one the plain ones."""
    given = Given(
        make_task, "unimatch", [outputs(7), outputs(3, (6, 4, 32, 32))], [], threshold=0.9, strong=0.25, perturbed=0.5
    )
    given.view = PerturbedView(**vars(given.view), perturbed=outputs(6).log())
    box = torch.zeros(3, 32, 32, dtype=torch.bool)
    box[:, 5:20, 8:30] = True
    monkeypatch.setattr("methods.unimatch.cutmix_boxes", lambda image: box)
    monkeypatch.setattr("methods.unimatch.strong_view", lambda image: image)
    given.method.train()
    answer, seen = given.method.network.forward, []
    given.method.network.forward = lambda image: (seen.append((image, given.method.network.training)), answer(image))[1]
    label, settled = sure_labels(given.p, 0.9), sure_labels(outputs(7).numpy(), 0.9)
    mixed = np.where(box.numpy(), np.roll(settled, 1, 0), label)
    assert given.terms() == {
        "strong_1": pytest.approx(0.25 * slow_dice(outputs(3, (6, 4, 32, 32)).numpy()[:3], mixed), rel=1e-4),
        "strong_2": pytest.approx(0.25 * slow_dice(outputs(3, (6, 4, 32, 32)).numpy()[3:], mixed), rel=1e-4),
        "perturbed": pytest.approx(0.5 * slow_dice(outputs(6).numpy(), label), rel=1e-4),
    }
    image = given.batch.image[3:]
    assert [training for _, training in seen] == [False, True] and torch.equal(seen[0][0], image)
    assert torch.equal(seen[1][0][3:], torch.where(box[:, None], image.roll(1, 0), image))


def test_unimatch_decodes_clean_and_dropped_out_features_together_and_halves_its_sum(make_task: Callable[..., Task]) -> None:
    method: Any = Given(make_task, "unimatch", [], [], threshold=0, feature_dropout=0.5).method.train()
    del method.network.forward
    batch, passes = method.task.bank.batch(0, 3, 3, 3), []
    method.network.decoder.register_forward_hook(lambda decoder, maps, output: passes.append(len(output[-1])))
    view = method.view(batch.image, 3)
    assert passes == [12] and view.logits.shape == (6, 4, 32, 32) and view.perturbed.shape == SHAPE
    assert not torch.allclose(view.perturbed, view.logits[3:], atol=1e-3)
    statistics = {name: value.clone() for name, value in method.state_dict().items()}
    torch.manual_seed(0)
    halved = method.losses(batch, STEP)
    method.load_state_dict(statistics)
    method.scale = 1
    torch.manual_seed(0)
    whole = method.losses(batch, STEP)
    assert set(halved) == {"supervised", "strong_1", "strong_2", "perturbed"}
    assert all(torch.equal(2 * term, whole[name]) for name, term in halved.items())


def test_ad_mt_s_student_settles_conflicts_of_its_own_slice(
    make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a box the labels of teachers and student are both those of the slice that is pasted."""
    given = Given(make_task, "ad_mt", [outputs(3)], [], threshold=0.6, consistency=1, ramp=1)
    told, order = [outputs(4), outputs(5)], [2, 0, 1]
    box = torch.zeros(3, 32, 32, dtype=torch.bool)
    box[:, 5:20, 8:30] = True
    monkeypatch.setattr("methods.ad_mt.cut_off_boxes", lambda image: box)
    monkeypatch.setattr(torch, "randperm", lambda n, device: torch.tensor(order))
    given.method.turn[0] = 1
    given.method.taught = lambda image, active: told
    label = np.full((3, 32, 32), IGNORE)
    taken = 0
    for n, r, c in np.ndindex(3, 32, 32):
        at = (order[n] if box[n, r, c] else n, slice(None), r, c)
        p, q = (t.numpy()[at].astype(float) for t in told)
        a, b = (math.exp(sum(x * math.log2(x + 1e-10) for x in each)) for each in (p, q))
        mean, own = (a * p + b * q) / (a + b), given.p[at]
        settled = p.argmax() != q.argmax() and own.argmax() != mean.argmax() and own.max() > mean.max()
        taken += settled
        final = own if settled else mean
        if final.max() >= 0.6:
            label[n, r, c] = final.argmax()
    assert taken > 100 and 0 < (label == IGNORE).mean() < 1
    assert given.terms()["consistency"] == pytest.approx(RAMP * slow_dice(outputs(3).numpy(), label), rel=1e-4)


def test_ss_net_s_prototypes_are_all_pixels_of_a_class_until_it_is_found(make_task: Callable[..., Task]) -> None:
    method: Any = registry.load("methods", "ss_net")(make_task(), registry.load("methods", "ss_net").Hparams())  # type: ignore[attr-defined]
    label, nothing = torch.arange(60) % 3, torch.zeros(60, dtype=torch.long)
    first, second = (torch.randn(60, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    method.train().remember(first, label, nothing)
    method.remember(second, label, nothing)
    projected = [method.eval().project(pixels).detach() for pixels in (first, second)]
    assert method.kept.tolist() == [0, 20, 20, 0] and not method.memory[[0, 3]].any()
    torch.testing.assert_close(method.memory[1, :20], projected[0][label == 1])
    method.train().remember(second, label, torch.where(torch.arange(60) < 30, label, 0))
    assert method.kept.tolist() == [0, 10, 10, 0]
    torch.testing.assert_close(method.memory[2, :10], projected[1][:30][label[:30] == 2])


def test_mc_net(make_task: Callable[..., Task]) -> None:
    given = Given(make_task, "mc_net", [], [], consistency=1, auxiliary=0.5, temperature=0.5)
    heads = [torch.cat([outputs(seed), outputs(seed + 1)]) for seed in (10, 20)]
    for number, p in enumerate(heads):
        given.method.further[number].forward = lambda maps: [torch.zeros(0)]
        given.method.classify[number].forward = lambda features, p=p: p.log()
    everything = [np.concatenate([outputs(99).numpy(), given.p]), *(p.numpy() for p in heads)]
    sharp = [p**2 / (p**2 + (1 - p) ** 2) for p in everything]
    pairs = sum(squares(everything[i], sharp[j]) for i in range(3) for j in range(3) if i != j)
    labelled = sum(halves(p[:3], given.batch.label.numpy()) for p in heads)
    assert given.terms() == {
        "auxiliary": pytest.approx(0.5 * labelled, rel=1e-4),
        "consistency": pytest.approx(RAMP * pairs, rel=1e-4),
    }


def test_urpc(make_task: Callable[..., Task]) -> None:
    given = Given(make_task, "urpc", [], [], consistency=1, auxiliary=0.5)
    head = torch.cat([outputs(10), outputs(11)])
    given.method.heads[0].forward = lambda level: head.log()
    given.view = View(
        [torch.zeros(6, 4, 32, 32)], [torch.zeros(0)] * 3, given.view.features, given.view.logits, given.view.probabilities
    )
    both = [given.p, head[3:].numpy()]
    mean = (both[0] + both[1]) / 2
    found = []
    for p in both:
        trusts, rectified, deviations = [], [], []
        for n, r, c in np.ndindex(3, 32, 32):
            a, q = mean[n, :, r, c].astype(float), p[n, :, r, c].astype(float)
            deviation = sum(a[k] * (math.log(a[k]) - math.log(q[k])) for k in range(4))
            trusts.append(math.exp(-deviation))
            rectified.append(trusts[-1] * sum((q[k] - a[k]) ** 2 for k in range(4)) / 4)
            deviations.append(deviation)
        found.append(np.mean(rectified) / np.mean(trusts) + np.mean(deviations))
    terms = given.terms()
    assert terms["consistency"] == pytest.approx(RAMP * float(np.mean(found)), rel=1e-3)
    assert terms["auxiliary"] == pytest.approx(0.5 * halves(head[:3], given.batch.label.numpy()), rel=1e-5)


def test_bcp_mixes_inside_and_outside_of_one_box(make_task: Callable[..., Task]) -> None:
    taught = smooth_outputs(4)
    given = Given(make_task, "bcp", [outputs(3)], [taught], unlabelled=0.5)
    seen: list[Tensor] = []
    answer = given.method.network.forward
    given.method.network.forward = lambda image: (seen.append(image), answer(image))[1]
    torch.manual_seed(0)
    term = float(given.method.second_phase(given.batch)["mixed"])
    labelled, unlabelled, label = given.batch.image[:3], given.batch.image[3:], given.batch.label.numpy()
    first = (seen[0] == labelled).all(1).numpy() & ~(labelled == unlabelled).all(1).numpy()
    inside = first[0]
    rows, columns = np.nonzero(inside)
    assert 19 <= rows.max() - rows.min() + 1 <= 21 and 19 <= columns.max() - columns.min() + 1 <= 21  # int(2/3 of 32 pixels)
    box = np.zeros((32, 32), bool)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    masks = np.stack([box, ~box, box])
    assert torch.equal(seen[0], torch.where(torch.from_numpy(masks)[:, None], labelled, unlabelled))
    pseudo = largest_only(taught.numpy().argmax(1))
    expected = sum(
        halves(outputs(3)[way::2], np.where(masks, label, IGNORE)[way::2])
        + 0.5 * halves(outputs(3)[way::2], np.where(masks, IGNORE, pseudo)[way::2])
        for way in (0, 1)
    )
    assert term == pytest.approx(expected, rel=1e-4)


def test_abd_replaces_the_least_sure_patch_by_the_most_alike_of_the_surest_or_by_the_surest() -> None:
    own, other = smooth_outputs(1), smooth_outputs(2)
    a, b = torch.zeros(3, 1, 32, 32), torch.ones(3, 1, 32, 32) * torch.arange(1024.0).view(1, 1, 32, 32)
    nearest = torch.tensor([True, False, True])
    found = displaced(a, b, own.log(), other.log(), nearest).numpy()
    side = 32 // GRID

    def patch(p: np.ndarray, at: int) -> np.ndarray:
        r, c = at // GRID * side, at % GRID * side
        return p[..., r : r + side, c : c + side]

    def classes(p: Tensor, at: int) -> np.ndarray:
        mean = np.exp(np.log(patch(p.numpy(), at)).mean((1, 2)))
        return mean / mean.sum()

    for n in range(3):
        sureness = [patch(own[n].numpy(), i).max(0).mean() for i in range(GRID * GRID)]
        offered = sorted(range(GRID * GRID), key=lambda i: -patch(other[n].numpy(), i).max(0).mean())[:SUREST]
        unsure = int(np.argmin(sureness))
        wanted = classes(own[n], unsure)
        divergence = {i: float((wanted * np.log(wanted / classes(other[n], i))).sum()) for i in offered}
        source = min(divergence, key=divergence.__getitem__) if nearest[n] else offered[0]
        expected = np.zeros((1, 32, 32), np.float32)
        patch(expected, unsure)[:] = patch(b[n].numpy(), source)
        np.testing.assert_array_equal(found[n], expected)


def test_mcsc_s_contrast_equals_the_sum_over_pairs() -> None:
    """The last tile has background alone and does not count."""
    vectors = F.normalize(torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    label = torch.tensor([[0, 0, 1, 1, 1, IGNORE], [2, 0, 1, 3, IGNORE, 2], [0, 0, IGNORE, 0, 0, 0]]).float()
    losses = []
    for t in range(2):
        members = [i for i in range(6) if label[t, i] != IGNORE]
        found = []
        for i in members:
            same = [j for j in members if j != i and label[t, j] == label[t, i]]
            total = 1e-6
            for j in members:
                rivals = sum(1 for k in members if label[t, k] == label[t, j]) - (j in same)
                total += math.exp(float(vectors[t, i] @ vectors[t, j]) / 0.1) / rivals if j != i else 0
            near = [math.log(math.exp(float(vectors[t, i] @ vectors[t, j]) / 0.1) / total) for j in same]
            found.append(-sum(near) / len(near) if near else 0)
        losses.append(sum(found) / len(found))
    assert float(balanced_contrast(vectors, label, 4, 0.1)) == pytest.approx(sum(losses) / 2, rel=1e-4)


def test_mcsc_s_tiles_cover_the_whole_map() -> None:
    cells = torch.arange(2 * 9 * 17).view(2, 9, 17, 1).float() + 1
    found = tiles(cells, 0.0)
    assert found.shape == (2, 2 * 3, 64, 1)
    assert sorted(found[found > 0].tolist()) == cells.flatten().tolist()
    assert set(found[0, 0].flatten().tolist()) == set(cells[0, :8, :8].flatten().tolist())


def test_mcsc_s_tiles_meet_those_of_other_slices_and_of_the_other_network() -> None:
    """Six slices of two networks and five tiles: each tile once, cells and labels alike, one tile of a slice and network a meeting."""
    number = torch.arange(6 * 2 * 5).view(6, 2, 5, 1, 1).float()
    torch.manual_seed(0)
    cells, label = meetings(number.expand(6, 2, 5, 3, 4), number[..., 0].expand(6, 2, 5, 3) + 1000)
    assert cells.shape == (2 * 5, 4 * 2 * 3, 4) and label.shape == (2 * 5, 4 * 2 * 3)
    real = label != IGNORE
    assert torch.equal(cells[real], (label[real] - 1000)[:, None].expand(-1, 4))
    assert sorted((label[real] - 1000).tolist()) == sorted(number.flatten().repeat(3).tolist())
    for row, known in zip(label, real, strict=True):
        met = {divmod(int(x) - 1000, 10) for x in row[known]}  # slice, then network and tile
        pairs = {(one, rest // 5) for one, rest in met}
        assert len(met) == len(pairs) == 2 * len({one for one, _ in pairs}) >= 4
    assert len({frozenset(row[known].tolist()) for row, known in zip(label, real, strict=True)}) == 10
