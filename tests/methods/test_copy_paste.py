"""The warm-up of copy-paste methods: how long it lasts, what it leaves behind, and that it survives a stop."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from benchmark.conformance.laws import masks_are_hidden, resumes
from benchmark.conformance.subject import Subject, make_optimiser, same_state, train
from benchmark.ground import registry
from methods.method import Step, Task
from methods.parts.copy_paste import EVERY, WarmUp

METHODS = ("bcp", "abd")


def test_a_warm_up_lasts_its_share_and_until_every_labelled_class_was_found(make_task: Callable[..., Task]) -> None:
    task = make_task()
    label = task.bank.label[task.bank.labelled][:2].long()
    assert label.unique().tolist() == [0, 1, 2, 3]
    right = F.one_hot(label, 4).movedim(-1, 1).float()
    without = F.one_hot(label.where(label != 2, 0), 4).movedim(-1, 1).float()
    warm_up = WarmUp(task, 0.25)
    for index in range(EVERY * 2):
        warm_up.look(right if index < EVERY * 2 - 1 else without, label, Step(index, EVERY * 8))
        assert not warm_up.over, "the share is not done, or one class is missing"
    again = WarmUp(task, 0.25)
    again.load_state_dict(warm_up.state_dict())
    assert again.missing == {2}
    for index in range(EVERY * 2, EVERY * 3):
        assert not again.over
        again.look(right, label, Step(index, EVERY * 8))
    assert again.over and not WarmUp(task, 1).over and WarmUp(task, 0).over


@pytest.mark.parametrize("name", METHODS)
def test_the_second_phase_starts_from_the_student_and_resumes_in_it(name: str) -> None:
    """Ten steps suffice where only background is missing."""
    method = Subject(registry.load("methods", name)).build({"warm_up": 0.25})
    method.warm_up.missing = {0}
    copies = [child for key, child in method.named_children() if key in ("teacher", "second")]
    optimiser = make_optimiser(method)
    first = train(method, range(EVERY), optimiser)
    assert method.warm_up.over and all(same_state(each, method.network) for each in copies)
    other = Subject(registry.load("methods", name)).build({"warm_up": 0.25}, seed=3)
    other.load_state_dict(method.state_dict())
    again = make_optimiser(other)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    steps = range(EVERY, EVERY + 2)
    second = train(method, steps, optimiser)
    assert second == train(other, steps, again) and same_state(method, other)
    assert all(not same_state(each, method.network) for each in copies)
    assert all(set(terms) == {"mixed"} for terms in first) and torch.isfinite(torch.tensor(second[-1]["mixed"]))


@pytest.mark.parametrize("name", METHODS)
def test_the_second_phase_keeps_the_laws_that_check_tries_in_the_first(name: str) -> None:
    subject = Subject(registry.load("methods", name), {"warm_up": 0})
    masks_are_hidden(subject)
    resumes(subject)
