"""The one training loop: exact resume, selection on validation cases, history.

Step t sees batch t and its own seeding of torch's generator, both functions of (seed, t). A checkpoint therefore needs the method,
the optimiser and the step, and a resumed run equals an uninterrupted one to the bit.
"""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmark.cell.optimiser import Optimiser
from benchmark.ground.files import read_plain, seal, set_aside, unseal
from benchmark.ground.protocol import Protocol
from benchmark.records.store import CellFolder
from datasets.slices import SliceBank
from methods.method import Method, Step
from methods.networks.network import Network
from methods.parts.observed import Observed

CHECKPOINT_SECONDS = 20.0
LOG_POINTS = 100
SHARES_EVERY = 100
"""Steps between two looks at what each term adds to the gradient, at least: a look is a backward pass a term."""
EXPLODED = 1e6
"""A loss beyond this will not come back: terms are of order 1."""
LONG_STEP = 2.0


class Interrupted(Exception):
    """Training was asked to stop; the checkpoint holds everything so far."""


class Diverged(Exception):
    """The loss is not finite, or huge; the message names the step, the terms, and the step of the last good checkpoint."""


@dataclass
class Progress:
    """What training tells of itself: the step just done, and the latest loss and validation score (DSC, mean of all)."""

    step: int
    total: int
    loss: float = math.nan
    validation: float = math.nan


@dataclass
class Fitted:
    """Outcome of training: the last weights (in the method), the best ones by validation, and the course of it."""

    best_state: dict[str, Tensor]
    best_step: int
    best_score: float = -math.inf
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    looks: list[tuple[int, float]] = field(default_factory=list)
    """(step, validation score) of every look at the validation cases."""

    steps: int = 0
    """Steps trained: the protocol's, or fewer where a tuner's trial was pruned."""

    passes: float = 0.0
    """Images that went through networks in the last logged step, per image of the batch."""


def fit(
    method: Method,
    seed: int,
    folder: CellFolder,
    validate: Callable[[Method], float] | None,
    tell: Callable[[Progress], None],
    stopping: Callable[[], bool],
    prune_below: Mapping[int, float] | None = None,
    code: str = "",
) -> Fitted:
    """Train ``method`` in place for the steps of its task's protocol, from the folder's checkpoint where there is one.

    validate: mean validation score of the reported network; the best of ``protocol.validations`` looks gives the ``val`` weights.
        None where the dataset has no validation cases: there are no ``val`` weights then.
    prune_below: at these steps, training ends if the best validation score so far is below the value.
    code: which code this is; a checkpoint of other code is none.
    tell: called after every logged step. stopping: asked after every step; True checkpoints and raises.

    Raises:
        Interrupted: ``stopping`` said so.
        Diverged: a loss became NaN, infinite or huge. The checkpoint is of a step before.
    """
    bank, protocol = method.task.bank, method.task.protocol
    optimiser = Optimiser(method.train(), protocol)
    start, fitted = _resume(method, optimiser, folder, code)
    log_every = max(1, protocol.steps // LOG_POINTS)
    weigh_every = log_every * math.ceil(SHARES_EVERY / log_every)
    looks = {round(protocol.steps * (i + 1) / protocol.validations) for i in range(protocol.validations)} if validate else set()
    progress = Progress(start, protocol.steps, validation=fitted.looks[-1][1] if fitted.looks else math.nan)
    began, saved, kept = time.perf_counter() - fitted.seconds, time.perf_counter(), start
    for index in range(start, protocol.steps):
        if prune_below and fitted.best_score < prune_below.get(index, -math.inf):
            break
        step, done = Step(index, protocol.steps), index + 1
        logged = done % log_every == 0 or done in looks or done == protocol.steps
        shares: dict[str, float] | None = {} if done % weigh_every == 0 or done == protocol.steps else None
        with _counting_passes(method if logged else None) as passed:
            terms = _update(method, optimiser, bank, protocol, seed, step, shares)
        row: dict[str, Any] = {}
        stop = done < protocol.steps and stopping()
        save = done in looks or done == protocol.steps or stop or time.perf_counter() - saved > CHECKPOINT_SECONDS
        if logged or save:
            values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))  # the one wait for the device
            loss = sum(values.values())
            if not abs(loss) < EXPLODED:
                after = f"the checkpoint of step {kept} is kept" if kept else "there was no checkpoint yet"
                raise Diverged(f"the loss became {loss:g} at step {done} of {protocol.steps} ({values}); {after}")
            if logged:
                fitted.passes = sum(passed) / (protocol.batch_labelled + protocol.batch_unlabelled)
                row, progress.loss = values | _observed(method) | (shares or {}), loss
        if validate and done in looks:
            row["validation"] = progress.validation = validate(method)
            fitted.looks.append((done, row["validation"]))
            if row["validation"] > fitted.best_score:
                fitted.best_score, fitted.best_step = row["validation"], done
                fitted.best_state = {key: value.detach().cpu().clone() for key, value in method.state_dict().items()}
        if row:
            fitted.history.append({"step": done, "loss": progress.loss, **row})
        fitted.seconds = time.perf_counter() - began
        progress.step = fitted.steps = done
        tell(progress)
        if save:
            _save(method, optimiser, done, fitted, folder, code)
            saved, kept = time.perf_counter(), done
        if stop:
            raise Interrupted(f"stopped after step {done} of {protocol.steps}; the same command continues from there")
    return fitted


@contextmanager
def _counting_passes(method: Method | None) -> Iterator[list[int]]:
    """Collects how many images enter a network of ``method``, pass by pass; without one, nothing."""
    passed: list[int] = []
    stems = [network.stem for network in method.modules() if isinstance(network, Network)] if method else []
    hooks = [stem.register_forward_hook(lambda stem, images, output: passed.append(len(images[0]))) for stem in stems]
    try:
        yield passed
    finally:
        for hook in hooks:
            hook.remove()


def _observed(method: Method) -> dict[str, float]:
    """What the parts of a method tell about the latest step."""
    return {
        name: value for part in method.modules() if isinstance(part, Observed) for name, value in part.observations().items()
    }


def gradient_shares(terms: dict[str, Tensor], parameters: list[Tensor]) -> dict[str, float]:
    """``gradient/<term>``: the norm of each term's gradient, over the sum of these norms; the graph stays for the step itself."""
    norms = []
    for term in terms.values():
        found = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True) if term.requires_grad else []
        norms.append(torch.stack([torch.zeros((), device=term.device), *(g.norm() for g in found if g is not None)]).norm())
    values = torch.stack(norms).tolist()
    return {f"gradient/{name}": value / (sum(values) or 1.0) for name, value in zip(terms, values, strict=True)}


def step_seconds(method: Method, protocol: Protocol, seed: int, steps: int) -> float:
    """Mean seconds of a training step over ``steps`` from the middle of training, after one to warm up. Changes the method.

    On a CPU, warming up is a matter of milliseconds: a first step of LONG_STEP seconds is all that is timed there.
    """
    optimiser, on_cpu = Optimiser(method.train(), protocol), method.task.bank.device.type == "cpu"
    began = time.perf_counter()
    for index in range(steps + 1):
        terms = _update(method, optimiser, method.task.bank, protocol, seed, Step(protocol.steps // 2 + index, protocol.steps))
        sum(float(value) for value in terms.values())  # waits for the device
        if index == 0:
            first, began = time.perf_counter() - began, time.perf_counter()
            if on_cpu and first > LONG_STEP:
                return first
    return (time.perf_counter() - began) / steps


def _update(
    method: Method,
    optimiser: Optimiser,
    bank: SliceBank,
    protocol: Protocol,
    seed: int,
    step: Step,
    shares: dict[str, float] | None = None,
) -> dict[str, Tensor]:
    """One optimiser step of a method in training mode; returns the terms, detached. shares: gets those of several terms' gradients."""
    optimiser.schedule(step)
    batch = bank.batch(seed, step.index, protocol.batch_labelled, protocol.batch_unlabelled, method.augmentation)
    seed_all = torch.default_generator.manual_seed if bank.device.type == "cpu" else torch.manual_seed  # 2 us instead of 140
    seed_all(seed * 1_000_003 + step.index)
    with precision(protocol, bank.device):
        terms = method.losses(batch, step)
    optimiser.zero_grad()
    if shares is not None and len(terms) > 1:
        shares |= gradient_shares(terms, [p for p in method.parameters() if p.requires_grad])
    torch.stack(list(terms.values())).sum().backward()
    optimiser.step()
    method.after_step(step)
    return {name: value.detach() for name, value in terms.items()}


def precision(protocol: Protocol, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast where the protocol asks for it; weights that a pass without gradients has cast are not kept for one that needs them."""
    half = protocol.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if half else nullcontext()


def history_csv(fitted: Fitted) -> str:
    """Losses and validation scores over steps, a row a logged step, and in columns with a "/" what the method and its gradient told."""
    return pd.DataFrame(fitted.history, columns=None if fitted.history else ["step"]).to_csv(index=False)


def _save(method: Method, optimiser: Optimiser, step: int, fitted: Fitted, folder: CellFolder, code: str) -> None:
    buffer = io.BytesIO()
    state = {
        "code": code,
        "step": step,
        "method": method.state_dict(),
        "optimiser": optimiser.state_dict(),
        "fitted": vars(fitted),
    }
    torch.save(state, buffer)
    folder.write(folder.checkpoint.name, seal(buffer.getvalue()))


def _state(folder: CellFolder) -> dict[str, Any] | None:
    """What the cell's checkpoint holds; None where there is none, or a damaged one, which is set aside."""
    if not folder.checkpoint.exists():
        return None
    with suppress(OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        content = unseal(read_plain(folder.checkpoint))
        state = None if content is None else torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        if isinstance(state, dict):
            return state
    set_aside(folder.checkpoint, "is not as it was written, and the cell begins at its first step")
    return None


def _resume(method: Method, optimiser: Optimiser, folder: CellFolder, code: str) -> tuple[int, Fitted]:
    """Step to start from and what is known so far; loads method and optimiser. A checkpoint that is damaged, or of other code, is none."""
    state = _state(folder)
    if state is None or state.get("code") != code:
        return 0, Fitted(best_state={}, best_step=0)
    method.load_state_dict(state["method"])
    optimiser.load_state_dict(state["optimiser"])
    return state["step"], Fitted(**state["fitted"])
