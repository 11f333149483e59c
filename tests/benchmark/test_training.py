"""The loop: exact resume, selection on validation, and what happens when the loss is not finite."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.cell import training
from benchmark.cell.optimiser import Optimiser
from benchmark.cell.training import Diverged, Fitted, Interrupted, Progress, fit, gradient_shares
from benchmark.conformance.task import DEPTH
from benchmark.ground import registry
from benchmark.records.store import CellFolder
from datasets.slices import Batch, SliceBank
from methods.contrastive import Contrastive
from methods.mean_teacher import MeanTeacher
from methods.method import Method, Step, Task
from methods.parts.contrast import Projector
from methods.supervised import Supervised
from tests.methods.conftest import make_task  # noqa: F401 - a fixture

MakeTask = Callable[..., Task]


def train(
    method: Method,
    folder: Path,
    scores: list[float] | None = None,
    stop_after: int | None = None,
    seen: list[Progress] | None = None,
) -> Fitted:
    left = iter(scores or [0.1, 0.2])
    steps = iter(range(1, 1000))
    return fit(
        method,
        seed=5,
        folder=CellFolder(folder),
        validate=lambda _: next(left),
        tell=lambda progress: seen.append(Progress(**vars(progress))) if seen is not None else None,
        stopping=lambda: stop_after is not None and next(steps) >= stop_after,
    )


def build(task: Task, which: type[Method] = MeanTeacher, **given: float) -> Method:
    torch.manual_seed(0)
    hparams: Any = which.Hparams
    return which(task, hparams(**given))


@pytest.mark.parametrize(("which", "stop_after"), [*((MeanTeacher, at) for at in (1, 7, 10, 13)), (Contrastive, 7)])
def test_a_resumed_run_equals_an_uninterrupted_one(
    make_task: MakeTask,  # noqa: F811
    tmp_path: Path,
    which: type[Method],
    stop_after: int,
) -> None:
    whole = build(make_task(), which)
    uninterrupted = train(whole, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"step {stop_after} of 20"):
        train(build(make_task(), which), tmp_path / "cut", stop_after=stop_after)
    resumed = build(make_task(), which)
    later = [0.1, 0.2] if stop_after < 10 else [0.2]
    again = train(resumed, tmp_path / "cut", later)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True))
    assert again.history == uninterrupted.history and again.best_step == uninterrupted.best_step
    assert all(torch.equal(again.best_state[key], value) for key, value in uninterrupted.best_state.items())


def test_a_finished_training_is_not_repeated(make_task: MakeTask, tmp_path: Path) -> None:  # noqa: F811
    first = build(make_task())
    train(first, tmp_path)
    second = build(make_task())
    train(second, tmp_path, scores=[])
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_the_best_validation_score_keeps_its_weights(make_task: MakeTask, tmp_path: Path) -> None:  # noqa: F811
    method = build(make_task(validations=4))
    fitted = train(method, tmp_path, [0.3, 0.7, 0.5, 0.7])
    assert fitted.best_step == 10 and fitted.best_score == 0.7  # the first of equals
    last = method.state_dict()
    assert any(not torch.equal(value, last[key]) for key, value in fitted.best_state.items())
    assert [row["validation"] for row in fitted.history if "validation" in row] == [0.3, 0.7, 0.5, 0.7]


def test_the_history_adds_up_and_progress_is_told_at_every_step(make_task: MakeTask, tmp_path: Path) -> None:  # noqa: F811
    seen: list[Progress] = []
    fitted = train(build(make_task()), tmp_path, seen=seen)
    for row in fitted.history:
        assert row["loss"] == pytest.approx(row["supervised"] + row["consistency"])
    assert [p.step for p in seen] == list(range(1, 21)) and math.isfinite(seen[-1].loss) and seen[-1].validation == 0.2


def test_a_part_that_adamw_trains_moves_as_far_whatever_its_term_weighs(make_task: MakeTask) -> None:  # noqa: F811
    """One step from the same start: by the rate, a weight, while the network's weights move by gradient descent on the weighted term."""
    moved: dict[float, Tensor] = {}
    network: dict[float, Tensor] = {}
    for weight in (0.001, 0.01):
        method = build(make_task(weight_decay=0.0), Contrastive, contrast=weight)
        optimiser, before = Optimiser(method, method.task.protocol), copy.deepcopy(method.state_dict())
        optimiser.schedule(Step(0, 20))
        optimiser.zero_grad()
        method.losses(method.task.bank.batch(0, 0, 4, 4), Step(0, 20))["contrast"].backward()
        optimiser.step()
        change = {name: value - before[name] for name, value in method.named_parameters()}
        moved[weight] = torch.cat([c.flatten() for name, c in change.items() if "projector" in name]).detach()
        network[weight] = torch.cat([c.flatten() for name, c in change.items() if "projector" not in name]).detach()
    assert float(moved[0.001].abs().median()) == pytest.approx(Projector.rate, rel=0.02)
    assert float((moved[0.001] - moved[0.01]).norm() / moved[0.01].norm()) < 0.2
    assert float(network[0.01].norm() / network[0.001].norm()) == pytest.approx(10, rel=0.05)


def test_a_term_s_share_is_that_of_its_gradient_s_norm() -> None:
    w, v = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    terms = {"a": 3 * w[0] + 4 * w[1], "b": 10 * v.sum(), "c": 5 * v.square().sum(), "d": torch.tensor(1.0)}
    found = gradient_shares(terms, [w, v])
    assert found == pytest.approx({"gradient/a": 0.2, "gradient/b": 0.4, "gradient/c": 0.4, "gradient/d": 0})
    torch.stack(list(terms.values())).sum().backward()  # the graph is still there, and nothing was added to it
    assert w.grad is not None and w.grad.tolist() == [3, 4]


def test_the_history_tells_shares_of_the_gradient_now_and_then_which_changes_nothing(
    make_task: MakeTask,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "SHARES_EVERY", 6)
    method = build(make_task())
    told = [{k: v for k, v in row.items() if "/" in k} for row in train(method, tmp_path / "with").history]
    assert [row for row, found in enumerate(told, 1) if found] == [6, 12, 18, 20]
    assert all(set(found) == {"gradient/supervised", "gradient/consistency"} for found in told if found)
    assert all(sum(found.values()) == pytest.approx(1) for found in told if found)
    monkeypatch.setattr(training, "gradient_shares", lambda *_: {})
    plain = build(make_task())
    train(plain, tmp_path / "without")
    assert all(torch.equal(a, b) for a, b in zip(method.state_dict().values(), plain.state_dict().values(), strict=True))


def test_the_history_tells_of_anchors(make_task: MakeTask, tmp_path: Path) -> None:  # noqa: F811
    torch.manual_seed(0)
    method = Contrastive(make_task(), Contrastive.Hparams())
    history = train(method, tmp_path).history
    assert all(sum(row[f"anchors/labelled/{k}"] for k in range(4)) > 1000 for row in history)
    assert not any("positives" in name for row in history for name in row)


class Exploding(Supervised):
    """Supervised until step 12, then NaN or huge."""

    factor = math.nan

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = super().losses(batch, step)
        return terms if step.index < 12 else {"supervised": terms["supervised"] * self.factor}


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e9])
def test_a_loss_that_explodes_stops_the_cell_and_says_where(make_task: MakeTask, tmp_path: Path, factor: float) -> None:  # noqa: F811
    method = Exploding(make_task(validations=4), Exploding.Hparams())
    method.factor = factor
    with pytest.raises(Diverged, match=r"step 13 of 20 .*supervised.*the checkpoint of step 10 is kept"):
        train(method, tmp_path, [0.1, 0.2, 0.3, 0.4])
    again = Exploding(make_task(validations=4), Exploding.Hparams())
    again.factor = 1.0
    seen: list[Progress] = []
    train(again, tmp_path, [0.3, 0.4], seen=seen)
    assert seen[0].step == 11, "it goes on from the last good checkpoint"


@pytest.mark.parametrize("damage", [lambda b: b[:1000], lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:], lambda b: b""])
def test_a_damaged_checkpoint_is_none(make_task: MakeTask, tmp_path: Path, damage: Any) -> None:  # noqa: F811
    first = build(make_task())
    train(first, tmp_path)
    checkpoint = CellFolder(tmp_path).checkpoint
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    second, seen = build(make_task()), list[Progress]()
    train(second, tmp_path, seen=seen)
    assert seen[0].step == 1
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_without_validation_cases_there_are_no_best_weights(make_task: MakeTask, tmp_path: Path) -> None:  # noqa: F811
    method = build(make_task())
    fitted = fit(method, 5, CellFolder(tmp_path), None, lambda _: None, lambda: False)
    assert not fitted.best_state and fitted.history


def test_slices_of_all_volumes_are_used(make_task: MakeTask) -> None:  # noqa: F811
    bank: SliceBank = make_task().bank
    rows = torch.cat([bank.batch(5, step, 4, 4).slice for step in range(20)])
    assert set(rows.tolist()) == set(range(4 * DEPTH))


@pytest.mark.parametrize(("name", "passes"), [("supervised", 0.5), ("mean_teacher", 1.5), ("cps", 2.0), ("ua_mt", 1 + 0.5 + 4)])
def test_passes_of_networks_are_counted(make_task: MakeTask, tmp_path: Path, name: str, passes: float) -> None:  # noqa: F811
    method_class = registry.load("methods", name)
    fitted = train(method_class(make_task(), method_class.Hparams()), tmp_path)  # type: ignore[attr-defined]
    assert fitted.passes == pytest.approx(passes)
