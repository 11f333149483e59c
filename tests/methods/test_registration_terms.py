"""RSL and REPS on volumes whose transforms are known exactly."""

from collections.abc import Callable

import pytest
import torch

from benchmark.conformance.task import SHIFTS, blob_volume
from datasets.registration import Recipe
from datasets.slices import IGNORE, Batch
from methods.method import Step, Task
from methods.parts.contrast import Anchors, ContrastHparams, PixelContrast
from methods.registered.reps import STRIDE, SameClass
from methods.registered.rsl import RegistrationHparams, RegistrationSupervision, warped_labels

MakeTask = Callable[..., Task]


def truth(name: str) -> torch.Tensor:
    label = blob_volume(name, SHIFTS[name]).label
    assert label is not None
    return torch.from_numpy(label)


def plain_batch(task: Task, rows: list[int], labelled: int) -> Batch:
    """Slices without augmentation."""
    index = torch.tensor(rows)
    return Batch(
        task.bank.image[index], task.bank.label[index[:labelled]].long(), index, torch.eye(2, 3).repeat(len(rows), 1, 1)
    )


def test_the_warped_label_under_the_true_transform_is_the_label(make_task: MakeTask) -> None:
    task = make_task()
    warped = warped_labels(task, task.registrations(Recipe()), voted=False)
    assert warped.shape == (2, 16, 32, 32)
    for position, name in ((2, "u1"), (3, "v1")):
        rows = slice(4 * position, 4 * position + 4)
        for candidate in warped[:, rows]:
            known = candidate != IGNORE
            assert torch.equal(candidate[known], truth(name)[known]) and float(known.float().mean()) > 0.7
    assert (warped[:, :8] == IGNORE).all()  # labelled volumes have their own label


def test_rsl_may_ignore_where_the_vote_is_unsure(make_task: MakeTask) -> None:
    """Of two sources one has a wrong map: where they differ nothing is taught once the vote has to be sure."""
    task = make_task()
    found = task.registrations(Recipe())
    for candidates in found.candidates:
        for candidate in candidates[1:]:
            candidate.transform.affine[2, 3] += 3
    each = warped_labels(task, found, voted=False)
    either, same = (each != IGNORE).any(0), (each[0] == each[1]) | (each == IGNORE).any(0)
    (plain,), (sure,) = (warped_labels(task, found, voted=True, confidence=share) for share in (0.0, 1.0))
    assert torch.equal(plain != IGNORE, either) and torch.equal(sure != IGNORE, either & same)
    assert torch.equal(sure[either & same], plain[either & same]) and 0.02 < float((either & ~same).float().mean()) < 0.2


def test_rsl_s_target_moves_with_the_augmentation(make_task: MakeTask) -> None:
    task = make_task()
    rsl = RegistrationSupervision(task, RegistrationHparams(rsl_source="similarity"))
    batch = task.bank.batch(0, 3, 2, 6)
    carried = rsl._carried(batch)[0]
    for row, label, to_slice in zip(batch.slice[2:], carried, batch.to_slice[2:], strict=True):
        name = task.bank.volumes[int(task.bank.volume[row])].name
        inside = label != IGNORE
        points = torch.cartesian_prod(torch.arange(32.0), torch.arange(32.0))
        at = (torch.cat([points, torch.ones(1024, 1)], 1) @ to_slice.T).round().long()
        within = ((at >= 0) & (at < 32)).all(1)
        at = at.clamp(0, 31)
        expected = truth(name)[int(task.bank.plane[row])][at[:, 0], at[:, 1]].view(32, 32)
        agree = (label == expected)[inside & within.view(32, 32)]
        assert float(agree.float().mean()) > 0.98  # rounding at edges under rotation


def test_rsl_is_half_ce_and_dice_against_the_chosen_label(make_task: MakeTask) -> None:
    task = make_task()
    rsl = RegistrationSupervision(task, RegistrationHparams(rsl_source="similarity", rsl_weight=0.5))
    batch = plain_batch(task, [0, 8, 9, 13], 1)
    target = rsl.warped[0, batch.slice[1:]].long()
    perfect = torch.nn.functional.one_hot(target.where(target != IGNORE, 0), 4).movedim(-1, 1) * 30.0
    pseudo = torch.zeros(3, 32, 32, dtype=torch.long)
    assert float(rsl([perfect], batch, pseudo, Step(0, 10))) < 1e-3
    assert float(rsl([-perfect, perfect], batch, pseudo, Step(0, 10))) > 0.4


def test_the_source_that_agrees_with_the_pseudo_label_is_chosen(make_task: MakeTask) -> None:
    task = make_task()
    rsl = RegistrationSupervision(task, RegistrationHparams(rsl_source="agreement", rsl_refresh=0.2))
    rsl.warped[0] = 0  # the more similar candidate becomes useless
    batch = plain_batch(task, [0, *range(8, 16)], 1)
    pseudo = torch.cat([truth("u1"), truth("v1")]).long()
    logits = torch.zeros(8, 4, 32, 32)
    for index in range(3):
        assert rsl.choice.tolist() == [0, 0, 0, 0] or index > 2
        rsl([logits], batch, pseudo, Step(index, 10))
    assert rsl.choice.tolist() == [0, 0, 1, 1]
    assert set(rsl.state_dict()) == {"choice", "overlap", "mass"}


@pytest.fixture
def memory(make_task: MakeTask) -> SameClass:
    task = make_task()
    return SameClass(task, task.registrations(Recipe()), 2, 1)


def test_places_lie_within_one_cell_of_the_true_correspondence(memory: SameClass) -> None:
    """Law 4 of CCT-R: a place mapped back lands within one memory cell of the pixel that it was found for."""
    bank = memory.bank
    for target, name in ((2, "u1"), (3, "v1")):
        for plane in range(4):
            place = memory.cells[0, 4 * target + plane].long()
            found = place >= 0
            row, column = torch.nonzero(found, as_tuple=True)
            cell = place[found]
            side = memory.side
            source_row = cell // (side * side)  # both labelled volumes have 4 slices: a1 first
            assert (source_row // 4 == 0).all() and (source_row % 4 == plane).all()  # a1 is the more similar one
            centre_row, centre_column = (cell // side % side) * STRIDE + STRIDE / 2, (cell % side) * STRIDE + STRIDE / 2
            back = centre_column - (SHIFTS["a1"] - SHIFTS[name])
            assert float((centre_row - row).abs().max()) <= STRIDE and float((back - column).abs().max()) <= STRIDE
            assert int(found.sum()) == bank.size * (bank.size - abs(SHIFTS[name] - SHIFTS["a1"]))


def anchors(label: int, item: int, row: int, column: int) -> Anchors:
    one = torch.ones(1, dtype=torch.long)
    return Anchors(label, 0 * one, item * one, row * one, column * one, one, torch.zeros(1, 128))


def test_a_registered_positive_is_what_was_remembered_at_the_corresponding_place(memory: SameClass) -> None:
    bank = memory.bank
    torch.manual_seed(0)
    contrast = PixelContrast([5, 7], 4, ContrastHparams())
    seen = plain_batch(memory_task := Task(4, 1, None, bank, lambda recipe: None, lambda volume, recipe: []), [0, 1, 8], 2)  # type: ignore[arg-type]
    assert memory_task.bank is bank
    maps = [torch.randn(3, 5, 32, 32), torch.randn(3, 7, 8, 8)]
    query = plain_batch(memory_task, [0, 9], 1)  # u1, plane 1: shifted by -3 against a1
    ask = anchors(3, 1, 16, 16 - 3)
    empty, found, *_ = memory.positives(ask, query)
    assert not found.any() and not empty.any()  # nothing remembered yet
    memory.remember(maps, contrast, seen)
    positive, found, *_ = memory.positives(ask, query)
    assert found.all()
    centre = (16 // STRIDE) * STRIDE + STRIDE // 2
    with torch.no_grad():
        both = torch.stack(
            [
                contrast.projector(maps[0][1, :, centre, centre][None], 0)[0],
                contrast.projector(maps[1][1, :, centre // 4, centre // 4][None], 1)[0],
            ]
        )
    assert torch.allclose(positive[0], torch.nn.functional.normalize(both.sum(0), dim=0), atol=1e-5)


def test_a_place_of_another_class_or_an_unvisited_slice_is_no_positive(memory: SameClass) -> None:
    contrast = PixelContrast([5, 7], 4, ContrastHparams())
    task = Task(4, 1, None, memory.bank, lambda recipe: None, lambda volume, recipe: [])  # type: ignore[arg-type]
    memory.remember([torch.randn(2, 5, 32, 32), torch.randn(2, 7, 8, 8)], contrast, plain_batch(task, [1, 8], 1))
    query = plain_batch(task, [0, 9, 10], 1)
    assert memory.positives(anchors(3, 1, 16, 13), query).found.all()
    assert not memory.positives(anchors(1, 1, 16, 13), query).found.any()  # the cell there is class 3
    assert not memory.positives(anchors(3, 2, 16, 13), query).found.any()  # plane 2 was never visited


def test_remembered_features_lie_where_the_pixels_came_from(make_task: MakeTask, memory: SameClass) -> None:
    """Under augmentation the memory of a slice is the same, up to cells that moved out, as without it."""
    contrast = PixelContrast([2, 2], 4, ContrastHparams())
    bank = memory.bank
    place = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))

    def maps_for(batch: Batch) -> list[torch.Tensor]:
        ones = torch.ones(1, 32, 32)
        moved = torch.einsum("nij,jhw->nihw", batch.to_slice, torch.cat([place, ones]))
        return [moved, moved]  # a network whose features are the pixel's own place in the slice

    task = Task(4, 1, None, bank, lambda recipe: None, lambda volume, recipe: [])  # type: ignore[arg-type]
    plain = plain_batch(task, [*range(8), 8], 8)
    memory.remember(maps_for(plain), contrast, plain)
    expected = memory.features.clone()
    memory.features.zero_()
    batch = bank.batch(0, 1, 8, 1)
    memory.remember(maps_for(batch), contrast, batch)
    visited = memory.features.norm(dim=2) > 0
    assert float(visited.float().mean()) > 0.6
    agreement = (memory.features * expected).sum(2)[visited]
    assert float(agreement.min()) > 0.95
