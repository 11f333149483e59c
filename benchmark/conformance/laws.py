"""The laws. Each is a function that raises Violation with a sentence; its docstring is what the command prints."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from benchmark.conformance.subject import STEPS, Subject, losses, make_optimiser, same_state, train
from benchmark.conformance.task import SHIFTS, blob_volume, made_up_task
from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.ranges import contains, ends, in_words, ranges_of
from datasets.dataset import Volume
from datasets.slices import Batch
from methods.method import Method, Propagator, Step, Task

LATE = Step(STEPS - 2, STEPS)
UNMOVED = (".0.bias", ".4.bias")
"""Biases before a batch normalisation: their gradient is rounding."""


class Violation(Exception):
    """A method breaks a law; the message says how."""


def terms_teach(subject: Subject) -> None:
    """every term is above zero, and together they reach every trainable weight"""
    method = subject.build(subject.probes())
    before = {name: value.detach().clone() for name, value in method.named_parameters() if value.requires_grad}
    for step in (Step(0, STEPS), LATE):
        for name, value in losses(method, step).items():
            if not (value.dim() == 0 and torch.isfinite(value) and float(value.detach()) > 0):
                raise Violation(f"term {name} is {value.detach().tolist()} at step {step.index}; expected a scalar above 0")
    train(method, range(STEPS - 4, STEPS))
    still = [name for name, p in method.named_parameters() if name in before and torch.equal(p, before[name])]
    if still := [name for name in still if not name.endswith(UNMOVED)]:
        raise Violation(f"{still[0]} is trainable and did not move in four steps; no term reaches it")


def terms_reach(subject: Subject) -> None:
    """each term teaches the modules it should, through one pass of each: what it is compared with is detached"""
    method = subject.build(subject.probes())
    for name, value in losses(method, LATE).items():
        passes = gradient_passes(method, value)
        if many := [child for child, count in passes.items() if count > 1]:
            raise Violation(f"the gradient of {name} flows through {passes[many[0]]} passes of {many[0]}; detach its target")
        wanted = method.reach.get(name)
        got = tuple(sorted(child for child, count in passes.items() if count))
        if wanted is not None and got != tuple(sorted(wanted)):
            raise Violation(f"{name} teaches {', '.join(got) or 'nothing'}; expected {', '.join(wanted)}")


def gradient_passes(method: Method, term: Tensor) -> dict[str, int]:
    """For each network of the method, through how many of its forward passes the term's gradient flows."""
    stems = {name: _stem_weight(child) for name, child in method.named_children() if hasattr(child, "stem")}
    counts = dict.fromkeys(stems, 0)
    owners = {id(weight): name for name, weight in stems.items()}
    seen, todo = set(), [term.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            if (leaf := getattr(following, "variable", None)) is not None and id(leaf) in owners:
                counts[owners[id(leaf)]] += 1
            todo.append(following)
    return counts


def _stem_weight(network: Any) -> Tensor:
    return next(network.stem.parameters())


def masks_are_hidden(subject: Subject) -> None:
    """whatever stands where an unlabelled mask would, training is the same to the bit"""
    clean, poisoned = subject.build(), subject.build()
    bank = poisoned.task.bank
    noise = torch.randint(0, 4, bank.label[bank.unlabelled].shape, generator=torch.Generator().manual_seed(1))
    bank.label[bank.unlabelled] = noise.to(torch.uint8)
    if train(clean) != train(poisoned) or not same_state(clean, poisoned):
        raise Violation("training changed with the masks of unlabelled slices; use batch.label alone")


def reduces_to_supervised(subject: Subject) -> None:
    """with its extra weights at 0 it is `supervised`, to the bit, at the scale of its sum"""
    weights = subject.cls.Hparams.weights
    if not weights:
        return
    off = dict.fromkeys(weights, 0) | ({"rsl": False} if "rsl" in subject.cls.Hparams.model_fields else {})
    method, plain = subject.build(off), Subject(registry.load("methods", "supervised")).build()
    train(method), train(plain, optimiser=make_optimiser(plain, method.scale))
    reported = next(method.children())
    if not same_state(reported, plain.network):
        scaled = f" with its sum times {method.scale:g}" if method.scale != 1 else ""
        raise Violation(f"with {', '.join(weights)} at 0 its first network is not what `supervised` trains{scaled}")


def seeds_decide(subject: Subject) -> None:
    """one seed gives one result, two seeds give two"""
    one, same, other = subject.build(), subject.build(), subject.build(seed=1)
    for method in (one, same, other):
        train(method)
    if not same_state(one, same):
        raise Violation("two builds from one seed differ after three steps; draw from torch's global generator alone")
    if same_state(one, other):
        raise Violation("two seeds gave the same weights; leave the generator's seed to the harness")


def resumes(subject: Subject) -> None:
    """stopped and resumed it equals an uninterrupted run"""
    whole, first, second = subject.build(), subject.build(), subject.build(seed=5)
    train(whole, range(6, 10))
    optimiser = make_optimiser(first)
    train(first, range(6, 8), optimiser)
    again = make_optimiser(second)
    second.load_state_dict(first.state_dict())
    again.load_state_dict(optimiser.state_dict())
    train(second, range(8, 10), again)
    if not same_state(whole, second):
        raise Violation("two steps, a restored state and two more steps differ from four; keep all state in buffers")


def predicts(subject: Subject) -> None:
    """predictions are probabilities of each image, the same each time, and change no state"""
    method = subject.build()
    train(method, range(1))
    method.eval()
    state = {key: value.clone() for key, value in method.state_dict().items()}
    image = method.task.bank.image[:3]
    with torch.no_grad():
        first, again = method.predictions(image), method.predictions(image)
    for network, p in first.items():
        if p.shape != (3, 4, 32, 32):
            raise Violation(f"{network} predicts {tuple(p.shape)} for three images of 32 x 32 and 4 classes")
        if not torch.allclose(p.sum(1), torch.ones(3, 32, 32), atol=1e-4) or float(p.min()) < 0:
            raise Violation(f"{network}: the probabilities of the classes do not add up to 1; softmax over axis 1")
        if not torch.equal(p, again[network]):
            raise Violation(f"{network} predicts something else the second time")
    if not all(torch.equal(value, method.state_dict()[key]) for key, value in state.items()):
        raise Violation("predicting changed the method's state")


def stays_in_training_mode(subject: Subject) -> None:
    """its losses leave every module in training mode"""
    method = subject.build(subject.probes())
    losses(method, LATE)
    if left := [name for name, module in method.named_modules() if not module.training]:
        raise Violation(f"{left[0] or 'the method'} is left in evaluation mode by its losses; call train() again")


def teachers_follow(subject: Subject) -> None:
    """a teacher moves with its student, statistics included"""
    method = subject.build()
    children = dict(method.named_children())
    frozen = {n: c for n, c in children.items() if [*c.parameters()] and not any(p.requires_grad for p in c.parameters())}
    before = {name: [p.clone() for p in child.parameters()] for name, child in frozen.items()}
    train(method)
    for name, child in frozen.items():
        if all(torch.equal(p, old) for p, old in zip(child.parameters(), before[name], strict=True)):
            raise Violation(f"{name} takes no gradient and never moved; update it in after_step")
    statistics = {name: [b.clone() for b in child.buffers() if b.is_floating_point()] for name, child in frozen.items()}
    for buffer in (
        b for name, child in children.items() if name not in frozen for b in child.buffers() if b.is_floating_point()
    ):
        buffer += 1
    for index in range(STEPS):  # of several teachers one may move at a time
        method.after_step(Step(index, STEPS))
    for name, child in frozen.items():
        moving = [b for b in child.buffers() if b.is_floating_point()]
        if still := sum(torch.equal(b, old) for b, old in zip(moving, statistics[name], strict=True)):
            raise Violation(f"{name} has {still} statistics that do not follow its student's; average or copy the buffers too")


def ignores_the_unsure(subject: Subject) -> None:
    """where no pixel is sure enough, unlabelled slices teach nothing: they do not turn into background"""
    for name, field, extra in subject.tunables():
        if "probe" in extra:
            limits = [getattr(m, side) for side in ("ge", "le") for m in field.metadata if hasattr(m, side)]
            strictest = max(limits, key=lambda limit: abs(limit - extra["probe"]))
            terms = losses(subject.build({name: strictest}), Step(0, STEPS))
            weights = {term: float(value.detach()) for term, value in terms.items() if term not in ("supervised", "rsl")}
            if wrong := [term for term, value in weights.items() if value > 0]:
                raise Violation(
                    f"with {name} at {strictest:g} no pixel counts, and {wrong[0]} is {weights[wrong[0]]:g}; ignore them"
                )


def takes_any_shape(subject: Subject) -> None:
    """2 to 9 classes, 1 to 4 channels, odd image sizes"""
    for classes, channels, side in ((2, 1, 33), (3, 4, 21), (9, 2, 48)):
        try:
            method = subject.build(subject.probes(), made_up_task(classes, channels, side))
            terms = losses(method, LATE)
            torch.stack(list(terms.values())).sum().backward()
            found = method.eval().predictions(method.task.bank.image[:2])
        except (RuntimeError, ValueError, IndexError, KeyError, AssertionError) as error:
            raise Violation(f"{classes} classes, {channels} channels, {side} pixels: {error}") from error
        if any(p.shape != (2, classes, side, side) for p in found.values()):
            raise Violation(f"{classes} classes, {channels} channels, {side} pixels: predictions of another shape")


def segments(subject: Subject) -> None:
    """a method without training gives a class to every voxel, the same each time"""
    method = subject.build()
    volume = replace(blob_volume("u1", SHIFTS["u1"]), label=None)
    first, again = method.segment(volume), method.segment(volume)
    for name, label in first.items():
        if label.shape != volume.image.shape[1:] or int(label.max()) > 3 or not torch.equal(label, again[name]):
            raise Violation(f"{name}: expected classes 0 to 3 of shape {volume.image.shape[1:]}, the same each time")


def leaves_its_data_alone(subject: Subject) -> None:
    """it writes into no volume, no slice of the bank and no batch or image that it is handed"""
    task = made_up_task()
    batch = task.bank.batch(0, LATE.index, 4, 4)
    image = task.bank.image[:3].clone()
    volume = replace(blob_volume("v1", SHIFTS["v1"]), label=None)
    given = subject.probes() | ({"rsl": True} if "rsl" in subject.cls.Hparams.model_fields else {})
    before = _copies(task, batch, image, volume)
    try:
        method = subject.build(given, task)
        if isinstance(method, Propagator):
            method.segment(volume)
        else:
            method.losses(batch, LATE)
            method.after_step(LATE)
            with torch.no_grad():
                method.eval().predictions(image)
    except ValueError as error:
        if "read-only" in str(error):
            raise Violation("it writes into an array of a volume; work on a copy") from error
        raise
    after = _copies(task, batch, image, volume)
    if changed := [name for name, value in before.items() if not np.array_equal(value, after[name])]:
        raise Violation(f"{changed[0]} is not as it was handed out; work on a clone")


def _copies(task: Task, batch: Batch, image: Tensor, volume: Volume) -> dict[str, np.ndarray]:
    """What a method is handed, by name, as it is now."""
    found: dict[str, Any] = {f"batch.{name}": value for name, value in vars(batch).items()}
    found |= {f"task.bank.{name}": value for name, value in vars(task.bank).items() if isinstance(value, Tensor)}
    found["the image to predict"] = image
    for v in (*task.bank.volumes, volume):
        found |= {f"{part} of volume {v.name}": getattr(v, part) for part in ("image", "label")}
    return {name: np.asarray(value).copy() for name, value in found.items()}


def hparams_are_checked(subject: Subject) -> None:
    """unknown hparams and values out of range are refused; search spaces hold the defaults; all are documented"""
    schema = subject.cls.Hparams
    if strange := set(subject.build().effective) - set(schema.model_fields):
        raise Violation(f"the effective value of {', '.join(strange)} is told, which is no hparam")
    if not _refused(schema, {"no_such_thing": 1}):
        raise Violation("an unknown hparam is taken; keep Method.Hparams' configuration")
    for name, field in schema.model_fields.items():
        if not field.description:
            raise Violation(f"hparam {name} has no description")
    try:
        ranges = ranges_of(schema)
    except BadInput as error:
        raise Violation(str(error)) from error
    for name, found in ranges.items():
        default = schema.model_fields[name].default
        if not contains(found, default):
            raise Violation(f"{name}: the default {default} is outside of its search space, {in_words(found)}")
        if any(_refused(schema, {name: end}) for end in ends(found)):
            raise Violation(f"{name}: its search space, {in_words(found)}, leaves the values that it takes")
        if "low" in found and not _refused(schema, {name: -(10**9)}):
            raise Violation(f"{name}: -1e9 is taken; give it a minimum")


def _refused(schema: Any, values: dict[str, Any]) -> bool:
    try:
        schema(**values)
    except ValidationError:
        return True
    return False


def names_its_source(subject: Subject) -> None:
    """its module says in a sentence what it is, and names the paper or the source with a year"""
    text = importlib.import_module(subject.cls.__module__).__doc__ or ""
    if len(text.split()) < 5:
        raise Violation("its module has no docstring; say what it is")
    if (
        subject.cls.__module__.startswith("methods.")
        and subject.cls.Hparams.weights
        and not re.search(r"\b(19|20)\d\d\b", text)
    ):
        raise Violation("its module's docstring names no paper with a year")


LAWS: list[Callable[[Subject], None]] = [
    terms_teach,
    terms_reach,
    masks_are_hidden,
    reduces_to_supervised,
    seeds_decide,
    resumes,
    predicts,
    stays_in_training_mode,
    teachers_follow,
    ignores_the_unsure,
    takes_any_shape,
    leaves_its_data_alone,
    hparams_are_checked,
    names_its_source,
]
UNTRAINED_LAWS: list[Callable[[Subject], None]] = [segments, leaves_its_data_alone, hparams_are_checked]
