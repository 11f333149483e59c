"""Losses, the U-Net, teachers and methods of SSL4MIS against numbers that its code gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.ground import registry
from methods.method import Step, Task
from methods.networks.unet import UNet
from methods.parts.ema import update_teacher
from methods.parts.losses import cross_entropy, dice_loss
from methods.urpc import feature_dropout, feature_noise
from tests.methods.recorded import Outcome, compare, entries, labels, normal, outcome, record

MakeTask = Callable[..., Task]
TOTAL = 30_000


def leaf(seed: int, scale: float, *shape: int) -> Tensor:
    """Logits that take a gradient."""
    return (scale * normal(seed, *shape)).requires_grad_()


def given(inputs: dict[str, Any], student: int = 0, teacher: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the student (N, K, P, P), labels (N/2, P, P) and logits of the teacher (N/2, K, P, P), or of as many as asked for."""
    seed, scale, (n, classes, *size) = inputs["seed"], inputs["scale"], inputs["shape"]
    label = labels(seed + 1, classes, n // 2, *size)
    return leaf(seed, scale, student or n, classes, *size), label, scale * normal(seed + 2, teacher or n // 2, classes, *size)


def answers(module: Any, *logits: Tensor) -> None:
    """Let a network's head answer with given logits, one after the other."""
    following: Iterator[Tensor] = iter(logits)
    module.head = lambda features, size: next(following)


def prepared(make_task: MakeTask, name: str, inputs: dict[str, Any], label: Tensor, **hparams: Any) -> tuple[Any, Any, Step]:
    """The method, a batch with the given labels as long as the logits, and the step."""
    task = make_task(unet_widths=(4, 4, 4, 4, 4), unet_dropout=(0.0,) * 5)
    task = dataclasses.replace(task, classes=inputs["shape"][1])
    cls: Any = registry.load("methods", name)
    method = cls(task, cls.Hparams(**hparams))
    count = len(label)
    batch = dataclasses.replace(task.bank.batch(0, 0, count, count), label=label)
    return method, batch, Step(inputs["iteration"], TOTAL) if "iteration" in inputs else Step(0, TOTAL)


def taught(method: Any, *logits: Tensor) -> None:
    """Let the teacher answer with given logits."""
    following = iter(logits)
    method.taught = lambda image: torch.softmax(next(following), 1)


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize(
    ("what", "loss"), [("Dice loss", lambda x, y: dice_loss(torch.softmax(x, 1), y)), ("cross-entropy", cross_entropy)]
)
def test_losses(what: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    known = record("losses", what)
    i = known["inputs"]
    x, y = leaf(i["seed"], i["scale"], *i["shape"]), labels(i["seed"] + 1, i["shape"][1], i["shape"][0], *i["shape"][2:])
    compare(known, outcome(loss(x, y), x), x.detach(), y)


def test_supervised(make_task: MakeTask) -> None:
    known = record("supervised", "sum of terms")
    i = known["inputs"]
    x, y = leaf(i["seed"], i["scale"], *i["shape"]), labels(i["seed"] + 1, i["shape"][1], i["shape"][0], *i["shape"][2:])
    method, batch, step = prepared(make_task, "supervised", i, y)
    answers(method.network, x)
    compare(known, outcome(total(method.losses(batch, step)), x), x.detach(), y)


HALF = "sum of terms at half of training"


def test_mean_teacher(make_task: MakeTask) -> None:
    known = record("mean_teacher", HALF)
    x, y, t = given(known["inputs"])
    method, batch, step = prepared(make_task, "mean_teacher", known["inputs"], y)
    answers(method.network, x)
    taught(method, t)
    compare(known, outcome(total(method.losses(batch, step)), x), x.detach(), y, t)


def noisy_passes(inputs: dict[str, Any]) -> Tensor:
    """Teacher logits: one pass for the target, then T = 8 noisy ones, (9 N/2, K, P, P)."""
    (n, classes, *size), target = inputs["shape"], given(inputs)[2]
    return target.repeat(9, 1, 1, 1) + normal(inputs["seed"] + 3, 9 * (n // 2), classes, *size)


def test_ua_mt_with_two_classes(make_task: MakeTask) -> None:
    known = record("ua_mt", f"{HALF}, two classes")
    (x, y, _), t = given(known["inputs"]), noisy_passes(known["inputs"])
    method, batch, step = prepared(make_task, "ua_mt", known["inputs"], y)
    answers(method.network, x)
    taught(method, t[:3], t[3:])
    compare(known, outcome(total(method.losses(batch, step)), x), x.detach(), y, t)


def test_ua_mt_with_four_classes(make_task: MakeTask) -> None:
    """More pixels count here; how many is told by the gradient, which is zero elsewhere."""
    known = record("ua_mt", "consistency and share of pixels that count, four classes")
    (x, y, _), t = given(known["inputs"]), noisy_passes(known["inputs"])
    method, batch, step = prepared(make_task, "ua_mt", known["inputs"], y, consistency=1)
    answers(method.network, x)
    taught(method, t[:3], t[3:])
    loss = method.losses(batch, step)["consistency"] / step.ramp
    (gradient,) = torch.autograd.grad(loss, x)
    counted = (gradient[3:].abs().sum(1) > 0).float().mean()
    compare(known, {"consistency": float(loss.detach()), "counted": float(counted)}, x.detach(), y, t)


def test_ict(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("ict", HALF)
    i = known["inputs"]
    x, y, t = given(i, student=6, teacher=4)
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: torch.tensor(i["shares"]).view(shape))
    method, batch, step = prepared(make_task, "ict", i, y)
    answers(method.network, x)
    taught(method, t[:2], t[2:])
    compare(known, outcome(total(method.losses(batch, step)), x), x.detach(), y, t)


def test_entropy_min(make_task: MakeTask) -> None:
    known = record("entropy_min", HALF)
    x, y, _ = given(known["inputs"])
    method, batch, step = prepared(make_task, "entropy_min", known["inputs"], y)
    answers(method.network, x)
    compare(known, outcome(total(method.losses(batch, step)), x), x.detach(), y)


@pytest.mark.parametrize(
    ("name", "what", "off"),
    [
        ("cps", "", {}),
        ("cross_teaching", "", {}),
        ("cctr", ", without contrast and RSL", {"contrast": 0, "rsl": False, "reps": False}),
    ],
)
def test_co_training(make_task: MakeTask, name: str, what: str, off: dict[str, Any]) -> None:
    known = record(name, HALF + what)
    x, y, _ = given(known["inputs"])
    z = given(known["inputs"], teacher=6)[2].requires_grad_()
    method, batch, step = prepared(make_task, name, known["inputs"], y, **off)
    answers(method.a, x)
    answers(method.b, z)
    terms = method.losses(batch, step)
    weight = method.hp.exchange * step.ramp
    exchanged: Outcome = {key: float(terms[key].detach()) / weight for key in ("exchange_a", "exchange_b")}
    compare(known, outcome(total(terms), x, z) | exchanged, x.detach(), y, z.detach())


def test_cps_and_its_authors_own_code(make_task: MakeTask) -> None:
    known = record("cps", "exchange on unlabelled slices at the end of training, the authors' own code")
    x, y, _ = given(known["inputs"])
    z = given(known["inputs"], teacher=6)[2].requires_grad_()
    method, batch, step = prepared(make_task, "cps", known["inputs"], y)
    unlabelled = [each.detach()[3:].requires_grad_() for each in (x, z)]
    answers(method.a, torch.cat([x.detach()[:3], unlabelled[0]]))
    answers(method.b, torch.cat([z.detach()[:3], unlabelled[1]]))
    terms = method.losses(batch, step)
    ours = outcome(terms["exchange_a"] + terms["exchange_b"], *unlabelled)
    compare(known, ours, *(each.detach() for each in unlabelled))


def test_fixmatch(make_task: MakeTask) -> None:
    """The threshold at 0: every pixel is sure, as every one passes there."""
    known = record("fixmatch", f"{HALF}, all pixels sure, without the loss of complementary labels")
    alone = record("fixmatch", "term of the strong view, all pixels sure")
    i = known["inputs"]
    weak, y, _ = given(i)
    strong = leaf(i["seed"] + 3, 2, *i["shape"])
    method, batch, step = prepared(make_task, "fixmatch", i, y, threshold=0)
    answers(method.network, weak, strong[3:])
    terms = method.losses(batch, step)
    compare(known, outcome(total(terms), weak, strong), weak.detach(), y, strong.detach())
    term = float(terms["consistency"].detach()) / (method.hp.consistency * step.ramp)
    compare(alone, {"loss": term}, weak.detach(), y, strong.detach())


def test_fixmatch_s_share_of_sure_pixels(make_task: MakeTask) -> None:
    known = record("fixmatch", "share of unlabelled pixels that are sure")
    weak, y, _ = given(known["inputs"])
    method, batch, step = prepared(make_task, "fixmatch", known["inputs"], y)
    strong = leaf(3, 1, *weak[3:].shape)
    answers(method.network, weak, strong)
    (gradient,) = torch.autograd.grad(method.losses(batch, step)["consistency"], strong)
    compare(known, {"sure": float((gradient.abs().sum(1) > 0).float().mean())}, weak.detach())


def test_urpc(make_task: MakeTask) -> None:
    known = record("urpc", HALF)
    i = known["inputs"]
    heads = [leaf(i["seed"] + 2 + k, i["scale"], *i["shape"]) for k in range(i["heads"])]
    y = labels(i["seed"] + 1, i["shape"][1], 3, *i["shape"][2:])
    method, batch, step = prepared(make_task, "urpc", i, y)
    answers(method.network, heads[0])
    for head, logits in zip(method.heads, heads[:0:-1], strict=True):  # deepest first
        head.forward = lambda features, logits=logits: logits
    compare(known, outcome(total(method.losses(batch, step)), *heads), *(h.detach() for h in heads), y)


def test_urpc_s_feature_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("urpc", "feature dropout, a quarter up its range")
    features = normal(known["inputs"]["seed"], *known["inputs"]["shape"])
    monkeypatch.setattr(torch, "rand", lambda size, device: torch.full(size, 0.25))
    found = feature_dropout(features)
    kept = float((found != 0).float().mean())
    compare(known, {"kept": kept, "features": entries(found), "norm": float(found.norm())}, features)


def test_urpc_s_feature_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("urpc", "feature noise")
    seed, shape = known["inputs"]["seed"], known["inputs"]["shape"]
    features, uniform = normal(seed, *shape), torch.rand(shape[1:], generator=torch.Generator().manual_seed(seed + 1))
    monkeypatch.setattr(torch, "rand_like", lambda tensor: uniform)
    found = feature_noise(features)
    compare(known, {"features": entries(found), "norm": float(found.norm())}, features, uniform)


def fill(names: list[str], parameters: list[Tensor], seed: int) -> None:
    """Seeded weights in an agreed order: normal kernels of He's scale, scales near 1, small biases."""
    with torch.no_grad():
        for number, (name, parameter) in enumerate(zip(names, parameters, strict=True)):
            value = normal(seed + number, *parameter.shape).to(parameter.dtype)
            if parameter.dim() > 1:
                value *= (2 / parameter[0].numel()) ** 0.5
            else:
                value = 0.1 * value + float(name.endswith("weight"))
            parameter.copy_(value)


def official_order(network: UNet) -> dict[str, nn.Parameter]:
    """Ours with the decoder level by level, as there."""
    ours = dict(network.named_parameters())
    prefixes = [f"encoder.{level}." for level in range(5)]
    prefixes += [f"decoder.{part}.{level}." for level in range(4) for part in ("up", "blocks")]
    return {name: p for prefix in (*prefixes, "classify.") for name, p in ours.items() if name.startswith(prefix)}


@pytest.mark.parametrize("mode", ["evaluation", "training, dropout off"])
def test_unet(mode: str) -> None:
    known = record("unet", f"logits, {mode}")
    i = known["inputs"]
    network = UNet(1, 4).double()
    ordered = official_order(network)
    assert len(ordered) == len(list(network.parameters())) and sum(p.numel() for p in ordered.values()) == i["parameters"]
    fill(list(ordered), list(ordered.values()), i["seed"])
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    network.train(mode.startswith("training"))
    image = normal(i["seed"] - 1, *i["shape"]).double()
    logits = network(image)
    first, last = network.encoder[0][0].weight, network.classify.weight
    ours = outcome(F.cross_entropy(logits, labels(i["seed"] - 2, 4, i["shape"][0], *i["shape"][2:])), first, last)
    compare(known, ours | {"logits": entries(logits), "norm": float(logits.detach().norm())}, image)


def test_ema() -> None:
    known = record("ema", "a teacher's weights")
    seed, steps, decay = (known["inputs"][key] for key in ("seed", "steps", "decay"))
    student, teacher = nn.Linear(5, 3), nn.Linear(5, 3)
    found: Outcome = {}
    with torch.no_grad():
        for ours, theirs in zip(student.parameters(), teacher.parameters(), strict=True):
            theirs.copy_(ours.copy_(normal(seed, *ours.shape)))
        for index in range(steps):
            for ours in student.parameters():
                ours += 0.1 * normal(1000 + index, *ours.shape)
            update_teacher(teacher, student, decay, Step(index, TOTAL))
            if (key := f"weights_after_{index + 1}") in known["official"]:
                found[key] = entries(torch.cat([p.flatten() for p in teacher.parameters()]))
    compare(known, found, normal(seed, 3, 5), normal(1299, 3, 5))
