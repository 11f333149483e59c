"""BCP, ABD, MC-Net+, UniMatch and their pieces against numbers that the authors' code gave.

Where whole steps are compared, a network is one convolution, so that what it is shown matters and batch normalisation does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.ground import registry
from methods.bases.one_network import View
from methods.mc_net import MCNet, mutual_consistency, sharpened
from methods.method import Step
from methods.parts.displacement import displaced
from methods.parts.losses import largest_components
from methods.parts.views import cut_out, cutmix_boxes
from tests.methods.recorded import compare, entries, labels, normal, outcome, record
from tests.methods.test_recorded_single import MakeTask, fill

CLASSES = 4


class OneConvolution(nn.Module):
    """A network of one seeded 3 x 3 convolution, less sure of itself in evaluation mode."""

    def __init__(self, seed: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * normal(seed, CLASSES, 1, 3, 3).double())

    def forward(self, image: Tensor) -> Tensor:
        logits = F.conv2d(image, self.weight, padding=1)
        return logits if self.training else 0.9 * logits

    def encode(self, image: Tensor) -> list[Tensor]:
        return [image]

    def decoder(self, maps: list[Tensor]) -> list[Tensor]:
        return [self(maps[0])]

    def head(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        return features


def regions(seed: int, n: int, channels: int, side: int) -> Tensor:
    """Maps (n, channels, side, side) that vary slowly, in double precision."""
    return F.interpolate(normal(seed, n, channels, 8, 8).double(), (side, side), mode="bilinear", align_corners=False)


def boxed(side: int, *box: int) -> Tensor:
    """(side, side) bool, true in the box (top, left, height, width)."""
    top, left, height, width = box
    found = torch.zeros(side, side, dtype=torch.bool)
    found[top : top + height, left : left + width] = True
    return found


def step_inputs(i: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Images (2 n, 1, side, side), labelled ones first, and labels (n, side, side)."""
    return regions(i["seed"], 2 * i["n"], 1, i["side"]), labels(i["seed"] + 1, CLASSES, i["n"], i["side"], i["side"])


def inside(i: dict[str, Any]) -> Tensor:
    """(n, side, side) bool: the box in even slices, what is around it in odd ones."""
    odd = torch.arange(i["n"]) % 2 == 1
    return boxed(i["side"], *i["box"]) ^ odd[:, None, None]


def built(make_task: MakeTask, name: str, i: dict[str, Any], **hparams: Any) -> Any:
    """The method in training mode, its networks replaced by convolutions of the record's seeds."""
    cls: Any = registry.load("methods", name)
    method = cls(make_task(), cls.Hparams(**hparams)).train()
    for number, network in enumerate(("network", "teacher", "second")):
        if hasattr(method, network):
            setattr(method, network, OneConvolution(i["seed"] + 10 + number, i["scale"]).train())
    if "box" in i:
        method.inside = lambda image: inside(i)
    return method


def batch_of(method: Any, image: Tensor, label: Tensor) -> Any:
    return dataclasses.replace(method.task.bank.batch(0, 0, len(label), len(image) - len(label)), image=image, label=label)


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("phase", ["first", "second"])
def test_bcp(make_task: MakeTask, phase: str) -> None:
    known = record("bcp", f"a step of the {phase} phase")
    i = known["inputs"]
    method, (image, label) = built(make_task, "bcp", i, warm_up=0.25 if phase == "first" else 0), step_inputs(i)
    loss = total(method.losses(batch_of(method, image, label), Step(0, 100)))
    compare(known, outcome(loss, method.network.weight), image, label)


def test_bcp_s_box(make_task: MakeTask) -> None:
    known = record("bcp", "sides of the box")
    cls: Any = registry.load("methods", "bcp")
    method = cls(make_task(), cls.Hparams())
    found = [method.inside(torch.zeros(1, 1, side, side))[0] for side in known["inputs"]["image_sides"]]
    compare(known, {"sides": [float(box.any(axis).sum()) for box in found for axis in (0, 1)]})


def test_largest_components() -> None:
    known = record("ema_self_training", "largest component of each class and slice")
    i = known["inputs"]
    label = regions(i["seed"], i["n"], CLASSES, i["side"]).argmax(1)
    kept = largest_components(label)
    assert not torch.equal(kept, label)
    compare(known, {"pixels": [float((kept == k).sum()) for k in range(CLASSES)], "entries": spread(kept)}, label)


def spread(maps: Tensor) -> list[float]:
    """A number for each map (N, ...), weighted by place."""
    flat = maps.double().flatten(1)
    return (flat @ torch.linspace(0, 1, flat.shape[1], dtype=torch.float64)).tolist()


def two_views(i: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Images, labels, strong images, where something is cut out, and which slices take the nearest patch."""
    image, label = step_inputs(i)
    strong = regions(i["seed"] + 2, 2 * i["n"], 1, i["side"])
    hidden = boxed(i["side"], *i["hidden"]) & (torch.arange(2 * i["n"]) % 3 == 0)[:, None, None]
    return image, label, strong, hidden, normal(i["seed"] + 3, i["n"]) < 0


def test_abd_s_displacement() -> None:
    known = record("abd", "displaced images of both views")
    i = known["inputs"]
    weak, strong = (regions(i["seed"] + k, i["n"], 1, i["side"]) for k in (0, 1))
    a, b = (3 * regions(i["seed"] + k, i["n"], CLASSES, i["side"]) for k in (2, 3))
    nearest = normal(i["seed"] + 4, i["n"]) < 0
    assert 0 < int(nearest.sum()) < i["n"]
    moved = torch.cat([displaced(weak, strong, a, b, nearest), displaced(strong, weak, b, a, nearest)])
    compare(known, {"images": spread(moved)}, weak, strong, a, b)


def test_abd(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("abd", "a step of the second phase, masked Dice as BCP has it since its issue 25")
    i = known["inputs"]
    image, label, strong, hidden, nearest = two_views(i)
    method = built(make_task, "abd", i, warm_up=0)
    batch = batch_of(method, image, label)
    monkeypatch.setattr("methods.abd.cut_out", lambda image: (strong, hidden))
    monkeypatch.setattr("methods.abd.jittered", lambda image, strength: image)
    monkeypatch.setattr(torch, "rand", lambda n, device: 1 - nearest.double())
    loss = total(method.losses(batch, Step(0, 100)))
    compare(known, outcome(loss, method.network.weight, method.second.weight), image, label, strong)
    compare(record("abd", "a step of the second phase"), {"loss": float(loss.detach())}, image, label, strong)


def test_mc_net_s_sharpening() -> None:
    known = record("mc_net", "sharpening")
    p = torch.softmax(known["inputs"]["scale"] * normal(known["inputs"]["seed"], *known["inputs"]["shape"]), 1)
    soft = torch.tensor([[0.40, 0.35, 0.15, 0.10]])
    compare(known, {"of_softmax": entries(sharpened(p, 0.1)), "of_unsure": sharpened(soft, 0.1)[0].tolist()}, p)


def mc_net_terms(make_task: MakeTask, i: dict[str, Any]) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
    """The terms of MC-Net+ whose decoders answer with seeded logits, these logits, and the labels."""
    n, _, *size = i["shape"]
    logits = [(i["scale"] * normal(i["seed"] + k, *i["shape"])).requires_grad_() for k in range(3)]
    label = labels(i["seed"] + 3, CLASSES, n // 2, *size)
    method: Any = MCNet(make_task(), MCNet.Hparams())
    method.view = lambda image, labelled: View([], [], logits[0], logits[0], torch.softmax(logits[0][labelled:], 1))
    for number in (0, 1):
        method.further[number].forward = lambda maps: [torch.zeros(0)]
        method.classify[number].forward = lambda features, number=number: logits[1 + number]
    batch = batch_of(method, torch.zeros(n, 1, *size), label)
    return method.losses(batch, Step(i["iteration"], 30_000)), logits, label


def test_mc_net_s_consistency(make_task: MakeTask) -> None:
    known = record("mc_net", "consistency at half of training")
    terms, logits, _ = mc_net_terms(make_task, known["inputs"])
    compare(known, outcome(terms["consistency"], *logits), *(x.detach() for x in logits))


def test_mc_net_s_sum(make_task: MakeTask) -> None:
    known = record("mc_net", "sum of terms at half of training")
    terms, logits, label = mc_net_terms(make_task, known["inputs"])
    compare(known, {"loss": float(total(terms).detach())}, *(x.detach() for x in logits), label)


def test_mc_net_s_decoders(make_task: MakeTask) -> None:
    known = record("mc_net", "logits of the three decoders, evaluation")
    i = known["inputs"]
    method: Any = MCNet(make_task(unet_widths=(16, 32, 64, 128, 256), unet_dropout=(0.0,) * 5), MCNet.Hparams()).double().eval()
    decoders = (("network.decoder", "network.classify"), ("further.0", "classify.0"), ("further.1", "classify.1"))
    ordered = named(method, "network.encoder")
    for decoder, classify in decoders:
        for level in range(4):
            ordered |= named(method, f"{decoder}.up.{level}") | named(method, f"{decoder}.blocks.{level}")
        ordered |= named(method, classify)
    assert len(ordered) == len(list(method.parameters())) and sum(p.numel() for p in ordered.values()) == i["parameters"]
    fill(list(ordered), list(ordered.values()), i["seed"])
    image = normal(i["seed"] - 1, *i["shape"]).double()
    with torch.no_grad():
        maps = method.network.encode(image)
        found = [method.get_submodule(c)(method.get_submodule(d)(maps)[-1]) for d, c in decoders]
        reported = next(iter(method.predictions(image).values()))
    assert torch.allclose(reported, torch.softmax(found[0], 1))
    ours = {f"decoder_{number}": entries(logits) for number, logits in enumerate(found, start=1)}
    compare(known, ours | {"consistency": float(mutual_consistency(found, 0.1))}, image)


def named(module: nn.Module, prefix: str) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if name.startswith(f"{prefix}.")}


def unimatch_inputs(i: dict[str, Any]) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Images, labels, two strong views of the unlabelled ones, and two sets of boxes."""
    image, label = step_inputs(i)
    strong = [regions(i["seed"] + k, i["n"], 1, i["side"]) for k in (2, 3)]
    return image, label, strong, [boxed(i["side"], *box).expand(i["n"], -1, -1) for box in i["boxes"]]


def test_unimatch(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("unimatch", "a step")
    i = known["inputs"]
    image, label, strong, boxes = unimatch_inputs(i)
    method, (views, places) = built(make_task, "unimatch", i), (iter(strong), iter(boxes))
    monkeypatch.setattr("methods.unimatch.strong_view", lambda image: next(views))
    monkeypatch.setattr("methods.unimatch.cutmix_boxes", lambda image: next(places))
    monkeypatch.setattr("methods.unimatch.F.dropout2d", lambda maps, share: share * maps)
    loss = total(method.losses(batch_of(method, image, label), Step(0, 100)))
    compare(known, outcome(loss, method.network.weight), image, label, *strong)


def test_unimatch_s_share_of_sure_pixels(make_task: MakeTask) -> None:
    known = record("unimatch", "share of sure pixels")
    i = known["inputs"]
    image, _ = step_inputs(i)
    method = built(make_task, "unimatch", i)
    label = method._sure(torch.softmax(method.network(image), 1))
    compare(known, {"sure": float((label < CLASSES).double().mean())}, image)


@pytest.mark.parametrize(
    ("method", "make"), [("unimatch", cutmix_boxes), ("abd", lambda image: cut_out(image)[1])], ids=["cutmix", "cut_out"]
)
def test_random_boxes_are_as_large_and_as_oblong_as_there(method: str, make: Callable[[Tensor], Tensor]) -> None:
    """Means over many boxes of other random numbers: within 3 %."""
    known = record(method, "random boxes")
    i = known["inputs"]
    torch.manual_seed(0)
    found = make(torch.zeros(i["n"], 1, i["side"], i["side"]))
    for key, value in box_statistics(found).items():
        assert value == pytest.approx(known["official"][key], rel=0.03), key


def box_statistics(found: Tensor) -> dict[str, float]:
    """Of boxes (N, H, W) bool: the share of images with one, its mean area, and the mean of the longer side over the shorter."""
    there = found[found.flatten(1).any(1)]
    height, width = there.any(2).sum(1).double(), there.any(1).sum(1).double()
    oblong = torch.maximum(height, width) / torch.minimum(height, width)
    return {"share": len(there) / len(found), "area": float(there.double().mean()), "oblong": float(oblong.mean())}
