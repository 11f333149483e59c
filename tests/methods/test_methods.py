"""What methods are beyond the laws of `check`: reductions of CCT-R, where its terms go, RSL as a switch, teachers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark.conformance.laws import masks_are_hidden
from benchmark.conformance.subject import Subject
from benchmark.ground import registry
from benchmark.study.grid import parse_methods
from methods.method import Method, Step, Task
from methods.parts.ema import effective_decay, make_teacher, update_teacher

MakeTask = Callable[..., Task]
METHODS = [name for name in registry.entries("methods") if issubclass(registry.load("methods", name), Method)]
SWITCHED_ON = [f"{name}[rsl=true]" for name in METHODS if name not in ("supervised", "cctr")]


def build(task: Task, name: str, **hparams: object) -> Method:
    """A method by its name, or as the command line writes it, with further hparams."""
    torch.manual_seed(0)
    (selection,) = parse_methods(name)
    method_class = registry.load("methods", selection.method)
    method: Method = method_class(task, method_class.Hparams(**selection.hparams | hparams))  # type: ignore[attr-defined]
    return method.train()


def run(method: Method, steps: int = 3, total: int = 20) -> list[dict[str, float]]:
    """Train as the harness does; the terms of each step."""
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    history = []
    for index in range(steps):
        step = Step(index, total)
        batch = method.task.bank.batch(0, index, 3, 3)
        torch.manual_seed(100 + index)
        terms = method.losses(batch, step)
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        method.after_step(step)
        history.append({name: float(value.detach()) for name, value in terms.items()})
    return history


def gradient_of(method: Method, term: Tensor) -> dict[str, bool]:
    """Which child modules a term reaches."""
    method.zero_grad()
    term.backward(retain_graph=True)
    return {
        name: any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in child.parameters())
        for name, child in method.named_children()
    }


@pytest.mark.parametrize("name", METHODS)
def test_scales_of_sums_are_not_hidden_in_the_learning_rate(name: str) -> None:
    assert registry.load("methods", name).Hparams.model_fields["learning_rate"].default == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SWITCHED_ON)
def test_with_rsl_unlabelled_masks_stay_hidden(name: str) -> None:
    """Law 3 of CCT-R: whatever stands where an unlabelled mask would, training is bit-identical. Without RSL, `check` tries it."""
    (selection,) = parse_methods(name)
    masks_are_hidden(Subject(registry.load("methods", selection.method), selection.hparams))


@pytest.mark.parametrize("name", SWITCHED_ON)
def test_rsl_is_one_more_term_that_the_reported_network_learns_from(make_task: MakeTask, name: str) -> None:
    """Switched on, it adds its term and changes no other one before the first update."""
    without, method = build(make_task(), name, rsl=False), build(make_task(), name)
    batch, step = method.task.bank.batch(0, 0, 4, 4), Step(10, 20)
    torch.manual_seed(1)
    plain = without.losses(batch, step)
    torch.manual_seed(1)
    terms = method.losses(batch, step)
    assert set(terms) == {*plain, "rsl"} and all(torch.equal(terms[key], value) for key, value in plain.items())
    reported = next(iter(dict(method.named_children())))
    assert gradient_of(method, terms["rsl"])[reported]


def test_cctr_without_registration_and_contrast_is_cross_teaching_to_the_bit(make_task: MakeTask) -> None:
    """Law 1 of CCT-R."""
    parent = run(build(make_task(), "cross_teaching"), 4)
    reduced = run(build(make_task(), "cctr", rsl=False, reps=False, contrastive=False), 4)
    contrastive = run(build(make_task(), "cctr", rsl=False, reps=False), 1)
    assert parent == reduced
    assert set(contrastive[0]) == {*parent[0], "contrast"}
    assert {key: contrastive[0][key] for key in parent[0]} == parent[0]


def test_terms_reach_the_networks_they_should(make_task: MakeTask) -> None:
    method = build(make_task(), "cctr")
    run(method, 2)
    terms = method.losses(method.task.bank.batch(0, 5, 3, 3), Step(5, 20))
    networks = {"a": True, "b": True, "contrast": False}
    expected = {
        "supervised_a": {"a": True, "b": False, "contrast": False},
        "supervised_b": {"a": False, "b": True, "contrast": False},
        "exchange_a": {"a": True, "b": False, "contrast": False},
        "exchange_b": {"a": False, "b": True, "contrast": False},
        "rsl": networks,
        "contrast": {"a": True, "b": True, "contrast": True},
    }
    for name, reached in expected.items():
        got = gradient_of(method, terms[name])
        assert {key: got[key] for key in reached} == reached, name


def test_pseudo_labels_are_detached(make_task: MakeTask) -> None:
    """What A learns from B moves A and not B: with A's own weights frozen, B gets only A's teaching."""
    method = build(make_task(), "cps")
    batch = method.task.bank.batch(0, 0, 3, 3)
    views = method.view(batch)  # type: ignore[operator]
    pseudo_b = views.probabilities[1][3:].argmax(1)
    loss = method.exchange(views.logits[0][3:], views.probabilities[0][3:], pseudo_b)  # type: ignore[operator]
    assert gradient_of(method, loss) == {"a": True, "b": False}


def test_the_teacher_is_the_average_and_its_statistics_are_too(make_task: MakeTask) -> None:
    student = make_task().unet()
    teacher = make_teacher(student)
    start = {key: value.clone() for key, value in student.state_dict().items()}
    for index in range(3):
        with torch.no_grad():
            for p in student.parameters():
                p += 1
            for b in student.buffers():
                b += 1
        update_teacher(teacher, student, 0.99, Step(index, 10))
    # a = min(1 - 1/(t+1), .99) = 0, 1/2, 2/3: the mean of the three students; counters are the last student's
    for key, kept in teacher.state_dict().items():
        if kept.is_floating_point():
            assert torch.allclose(kept, start[key] + 2, atol=1e-5), key
        else:
            assert torch.equal(kept, start[key] + 3), key
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize(("steps", "decay"), [(20, 0.9), (400, 0.9), (4_000, 0.925), (30_000, 0.99), (60_000, 0.995)])
def test_a_decay_covers_the_same_share_of_every_training_but_at_least_ten_steps(steps: int, decay: float) -> None:
    assert effective_decay(0.99, steps) == pytest.approx(decay, abs=1e-9)
    assert effective_decay(0.5, 30_000) == pytest.approx(0.5) and effective_decay(0.5, steps) >= 0.5
    assert effective_decay(1, steps) == pytest.approx(1)


def test_the_record_s_effective_decay_is_the_teacher_s(make_task: MakeTask) -> None:
    method = build(make_task(steps=4_000), "mean_teacher")
    name, weight = next(method.network.named_parameters())
    kept = method.teacher.get_parameter(name)
    before = kept.clone()
    with torch.no_grad():
        weight += 1
    method.after_step(Step(3_999, 4_000))
    assert torch.allclose(kept - before, torch.full_like(kept, 1 - method.effective["ema_decay"]), atol=1e-6)
    assert method.effective["ema_decay"] == pytest.approx(0.925)


def test_mean_teacher_s_teacher_sees_another_view(make_task: MakeTask) -> None:
    """Even with equal weights the consistency is not that of an output with itself."""
    assert run(build(make_task(), "mean_teacher"), 1)[0]["consistency"] > 1e-6
