"""REPS where the transform decides: with exact transforms its classes and places are exactly right; and REPS as it was before."""

from collections.abc import Callable

import pytest
import torch

from benchmark.conformance.subject import STEPS, Subject, losses, make_optimiser, train
from benchmark.conformance.task import DEPTH, SHIFTS, _candidate, blob_volume
from benchmark.ground import registry
from datasets.registration import Recipe, Registrations
from datasets.slices import IGNORE, Batch, SliceBank
from methods.method import Step, Task
from methods.parts.contrast import KINDS, REGISTERED, Anchors, Candidates, ContrastHparams, PixelContrast
from methods.registered.reps import SameClass, SamePlace
from tests.methods.test_registration_terms import plain_batch

MakeTask = Callable[..., Task]
SIMILARITIES = (0.9, 0.8)
"""Of the made-up task's two sources, a1 and b1."""


def all_truth() -> torch.Tensor:
    """The true class of every pixel of the made-up task's bank: (16, 32, 32)."""
    return torch.cat([torch.from_numpy(blob_volume(name, shift).label) for name, shift in SHIFTS.items()])


@pytest.fixture
def memory(make_task: MakeTask) -> SamePlace:
    task = make_task()
    return SamePlace(task, task.registrations(Recipe()), 2, 3)


def every_pixel(batch: Batch, kind: int, label: int = 3) -> Anchors:
    """All pixels of a batch as anchors."""
    item, row, column = torch.cartesian_prod(*(torch.arange(n) for n in (len(batch.slice), 32, 32))).unbind(1)
    return Anchors(label, 0 * item, item, row, column, torch.full_like(item, kind), torch.zeros(len(item), 128))


def test_with_exact_transforms_every_place_and_every_cell_that_gives_a_positive_has_the_true_class(memory: SamePlace) -> None:
    """All 100 %: the pixel that the transform leads to, and each cell with a part in the interpolation, hence the one that wins."""
    truth = all_truth()
    known = memory.pixels >= 0
    label = memory._labels(memory.pixels)
    assert torch.equal(label[known], truth.expand(3, -1, -1, -1)[known])
    assert known[:2, 8:].float().mean() > 0.8 and not known[2].any()  # two sources, part of which lies outside of the image
    cells, parts = memory.interpolation(memory.pixels.flatten(1))
    wanted = truth.flatten()[None, :, None].expand(3, -1, 4)
    assert torch.equal(memory.label[cells][parts > 0], wanted[parts > 0])
    has = parts.sum(-1) > 0
    assert torch.allclose(parts.sum(-1)[has], torch.ones(())) and torch.equal(
        has, known.flatten(1)
    )  # no structure is too thin here
    assert torch.equal(memory.told[known[:2].any(0)], truth[known[:2].any(0)])


def test_under_augmentation_the_registered_class_of_every_pixel_is_its_true_class(memory: SamePlace) -> None:
    memory.features += 1
    for step in range(4):
        batch = memory.bank.batch(0, step, 4, 4)
        anchors = every_pixel(batch, REGISTERED)
        positives = memory.positives(anchors, batch)
        rows, row, column, inside = memory.sources(anchors, batch)
        assert positives.label is not None
        told = (positives.label != IGNORE) & inside
        assert torch.equal(positives.label[told].long(), all_truth()[rows, row, column][told].long())
        assert torch.equal(told, positives.found) and float(told.float().mean()) > 0.6


def test_registration_names_anchors_where_it_puts_foreground(memory: SamePlace) -> None:
    """Where no network is sure, and against a network that is sure of background where the two sources agree."""
    memory.firm[9, :, :12] = 0  # as if they disagreed there
    batch = plain_batch(memory, [0, 9, 13], 1)  # type: ignore[arg-type]
    label = torch.full((2, 3, 32, 32), IGNORE)
    label[:, 0] = batch.label
    label[0, 1, :16] = 0  # one network is sure of background in the upper half of one slice
    label[1, 2, :16] = 2  # the other of an organ in the upper half of the next
    joined = memory.join(Candidates(label, 1), batch)
    assert joined.registered is not None and joined.labelled == 1
    expected = memory.told[batch.slice].long().expand(2, -1, -1, -1)
    named = (expected > 0) & (expected != IGNORE)
    named[:, 0] = False
    named[0, 1, :16, :12] = False
    named[1, 2, :16] = False
    assert named[0, 1, :16, 12:].sum() > 20 and (expected[0, 1, :16, :12] > 0).sum() > 20
    assert torch.equal(joined.registered, named) and named.sum() > 400
    assert torch.equal(joined.label[named], expected[named]) and torch.equal(joined.label[~named], label[~named])


def test_an_anchor_that_registration_named_weighs_the_share_of_the_sources_that_agree(memory: SamePlace) -> None:
    first, second = torch.softmax(10 * torch.tensor(SIMILARITIES), 0).tolist()
    memory.truth[4 * 32 * 32 :][memory.truth[4 * 32 * 32 :] == 3] = 1  # b1 no longer agrees with a1
    batch = plain_batch(memory, [0, 9], 1)  # type: ignore[arg-type]
    for kind, name in enumerate(KINDS):
        anchors = every_pixel(batch, kind)
        weight = memory.positives(anchors, batch).weight
        assert weight is not None
        weight = weight[(all_truth()[9] == 3)[anchors.row, anchors.column] & (anchors.item == 1)]
        assert torch.allclose(weight, torch.tensor(first if name == "registered" else 1.0)), name
    assert first + second == pytest.approx(1) and 0.7 < first < 0.75


def test_cells_are_interpolated_within_the_class_of_the_place(make_task: MakeTask) -> None:
    """By hand, at 128 pixels, where a cell has 3: its middle pixel is that cell alone, the next one two thirds of it."""
    task = make_task(image_size=128)
    memory = SamePlace(task, task.registrations(Recipe()), 2, 1)
    assert (memory.stride, memory.side) == (3, 43)
    memory.label[:] = 0
    memory.truth[:] = 0

    def at(row: int, column: int) -> dict[int, float]:
        cells, parts = memory.interpolation(torch.tensor([[(2 * 128 + row) * 128 + column]]))
        found: dict[int, float] = {}
        for cell, part in zip(cells.flatten().tolist(), parts.flatten().tolist(), strict=True):
            if part > 0:
                found[cell] = found.get(cell, 0) + part
        return found

    first = 2 * 43 * 43
    assert at(1, 4) == pytest.approx({first + 1: 1.0})
    assert at(4, 5) == pytest.approx({first + 43 + 1: 2 / 3, first + 43 + 2: 1 / 3}, rel=1e-5)
    assert sum(at(5, 6).values()) == pytest.approx(1) and len(at(5, 6)) == 4
    assert at(0, 0) == pytest.approx({first: 1.0})
    memory.label[first + 43 + 1] = 2  # beyond a border
    assert at(4, 5) == pytest.approx({first + 43 + 2: 1.0})
    memory.label[first + 43 + 2] = 2
    assert at(4, 5) == {}


def test_a_positive_is_the_memory_at_the_place_weighted_over_sources(make_task: MakeTask, memory: SamePlace) -> None:
    torch.manual_seed(0)
    contrast = PixelContrast([5, 7], 4, ContrastHparams())
    maps = [torch.randn(8, 5, 32, 32), torch.randn(8, 7, 8, 8)]
    query = plain_batch(memory, [0, 9], 1)  # type: ignore[arg-type]
    anchors = every_pixel(query, REGISTERED)
    assert not memory.positives(anchors, query).found.any()  # nothing remembered yet
    memory.remember(maps, contrast, plain_batch(memory, list(range(8)), 8))  # type: ignore[arg-type]
    with torch.no_grad():
        seen = torch.stack(
            [
                sum(contrast.projector(maps[m][slice_, :, 15 // (1, 4)[m], column // (1, 4)[m]][None], m)[0] for m in (0, 1))
                / 2
                for slice_, column in ((1, 17), (5, 21))  # a1, moved by 3 against u1, and b1, moved by 7
            ]
        )
    weights = torch.softmax(10 * torch.tensor(SIMILARITIES), 0)
    expected = torch.nn.functional.normalize((weights[:, None] * seen).sum(0), dim=0)
    got = memory.positives(anchors, query).vectors[32 * 32 + 15 * 32 + 14]
    assert torch.allclose(got, expected, atol=2e-3)  # kept in half precision


def test_with_one_labelled_case_its_other_frame_gives_positives_by_place_alone(make_task: MakeTask) -> None:
    shifts = {"a1": 0, "a2": 3, "u1": -3}
    volumes = [blob_volume(name, shift, name[0] == "a") for name, shift in shifts.items()]
    pairs = {0: [1], 1: [0], 2: [0, 1]}
    found = [[_candidate(s, volumes[s], volumes[t], shifts) for s in sources] for t, sources in pairs.items()]
    registrations = Registrations(found, [[] for _ in volumes])
    task = make_task()
    bank = SliceBank(volumes, 32, torch.device("cpu"))
    task = Task(4, 1, task.protocol, bank, lambda recipe: registrations, lambda volume, recipe: [])
    by_place, by_class = SamePlace(task, registrations, 2, 3), SameClass(task, registrations, 2, 1)
    rows = slice(0, 2 * DEPTH)
    assert (by_place.pixels[0, rows] >= 0).float().mean() > 0.8 and (by_class.cells[0, rows] < 0).all()
    assert (by_class.cells[0, 2 * DEPTH :] >= 0).float().mean() > 0.8


BEFORE = {
    "class": (
        {"reps_positives": "class", "reps_k": 1, "contrast": 0.1, "confidence": 0.5},
        {"contrast": 0.5386014581, "supervised_a": 0.5704618692, "supervised_b": 0.9670301676, "rsl": 0.4651260972},
    ),
    "off": (
        {"reps": False},
        {"contrast": 0.0123811709, "supervised_a": 0.5740600824, "supervised_b": 0.9883667231, "rsl": 0.4728072286},
    ),
}
"""Hyper-parameters, and terms that the commit before ``reps_positives`` gave with them, after eight steps."""


@pytest.mark.parametrize("name", BEFORE)
def test_reps_by_class_and_no_reps_are_what_they_were_before_there_was_a_choice(name: str) -> None:
    given, terms = BEFORE[name]
    method = Subject(registry.load("methods", "cctr"), given).build()
    optimiser = make_optimiser(method)
    train(method, range(4), optimiser)
    last = train(method, range(12, 16), optimiser)[-1]
    assert {term: last[term] for term in terms} == pytest.approx(terms, rel=1e-3)


def reps_share(**given: object) -> float:
    """What REPS changes of the gradient after some steps, over the whole gradient's norm."""
    method = Subject(registry.load("methods", "cctr"), given).build()
    train(method, range(10))
    parameters = [p for p in method.parameters() if p.requires_grad]

    def gradient() -> torch.Tensor:
        total = torch.stack(list(losses(method, Step(10, STEPS)).values())).sum()
        found = torch.autograd.grad(total, parameters, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None])

    whole, method.hp = gradient(), method.hp.model_copy(update={"reps": False})
    return float((whole - gradient()).norm() / whole.norm())


def test_reps_moves_the_network() -> None:
    assert reps_share(contrast=0.1) > 0.01
