"""CrossMatch, AD-MT, SS-Net and DC-Net against numbers recorded from the authors' code."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.ground import registry
from datasets.slices import Batch
from methods.bases.one_network import View
from methods.method import Step, Task
from methods.parts.adversarial import smoothness
from methods.unimatch import PerturbedView
from tests.methods.recorded import compare, labels, normal, outcome, record, recorded

HALF = Step(10, 20)


def build(make_task: Callable[..., Task], name: str, **hparams: Any) -> Any:
    torch.manual_seed(0)
    method = registry.load("methods", name)
    return method(make_task(), method.Hparams(**hparams)).train()  # type: ignore[attr-defined]


def given(seeds: range, *shape: int) -> list[Tensor]:
    """Logits of imagined networks, 3 times normal, one tensor a seed."""
    return [(3 * normal(seed, *shape)).requires_grad_() for seed in seeds]


def boxes(*places: list[int]) -> Tensor:
    """(4, 32, 32) bool: of every so many slices from the first, rows and columns inside."""
    found = torch.zeros(4, 32, 32, dtype=torch.bool)
    for first, step, top, bottom, left, right in places:
        found[first::step, top:bottom, left:right] = True
    return found


def batch_of(method: Any, label: Tensor) -> Batch:
    return replace(method.task.bank.batch(0, 0, 4, 4), label=label)


def test_crossmatch(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("crossmatch", "the whole sum, from all logits")
    method, logits, label = build(make_task, "crossmatch"), given(range(1, 9), 4, 4, 32, 32), labels(9, 4, 4, 32, 32)
    labelled, weak, strong_1, strong_2, *perturbed = logits
    drawn = iter(boxes(place) for place in known["inputs"]["boxes"])
    monkeypatch.setattr("methods.crossmatch.cutmix_boxes", lambda image: next(drawn))
    maps, told = [torch.zeros(8, 1, 32, 32)], torch.cat([labelled, weak])
    method.view = lambda image, n: PerturbedView(maps, [], maps[0], told, torch.softmax(weak, 1), torch.cat(perturbed[:2]))
    method.network.encode = lambda image: maps
    method.network.decoder.forward = lambda maps: maps
    method.network.head = lambda features, size: torch.cat([strong_1, strong_2, *perturbed[2:]])
    loss = torch.stack([*method.losses(batch_of(method, label), HALF).values()]).sum()
    compare(known, outcome(loss, labelled, strong_1, strong_2, *perturbed), *(x.detach() for x in logits), label)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_ad_mt(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch, turn: str) -> None:
    known = record("ad_mt", f"the sum in a turn of the {turn} teacher")
    inputs, label = known["inputs"], labels(6, 4, 4, 32, 32)
    labelled, first, second, own, strong = logits = given(range(1, 6), 4, 4, 32, 32)
    own.data *= inputs["student"] / 3
    method = build(make_task, "ad_mt")
    method.turn[0] = int(turn == "second")
    if turn == "second":
        found = boxes(*([i, 4, *box] for i, box in enumerate(inputs["boxes"])))
        monkeypatch.setattr("methods.ad_mt.cut_off_boxes", lambda image: found)
        monkeypatch.setattr(torch, "randperm", lambda n, device: torch.tensor(inputs["order"]))
    for teacher, answer in zip(method.teachers, (first, second), strict=True):
        teacher.forward = lambda image, answer=answer: answer
    method.network.forward = lambda image: strong
    method.view = lambda image, n: View([], [], image, torch.cat([labelled, own]), torch.softmax(own, 1))
    loss = torch.stack([*method.losses(batch_of(method, label), Step(*inputs["step"])).values()]).sum()
    compare(known, outcome(loss, labelled, strong), *(x.detach() for x in logits), label)


def test_ad_mt_takes_turns(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    known = record("ad_mt", "whose turn it is")
    lengths = iter(known["inputs"]["lengths"])
    monkeypatch.setattr("methods.ad_mt.AlternateDiverseTeaching._length", lambda self: next(lengths))
    method, found = build(make_task, "ad_mt"), []
    for index in range(12):
        found.append(method.turn[0])
        before = [p.clone() for p in method.teachers.parameters()]
        with torch.no_grad():
            for p in method.network.parameters():
                p += 1
        method.after_step(Step(index, 20))
        moved = [not torch.equal(a, b) for a, b in zip(before, method.teachers.parameters(), strict=True)]
        half = len(moved) // 2
        assert [all(moved[:half]), all(moved[half:])] == [found[-1] == 0, found[-1] == 1] and any(moved) and not all(moved)
    compare(known, {"teacher": found})
    assert method.turn[2:] == [found.count(0), found.count(1)]


def test_ss_net_s_smoothness_keeps_running_statistics() -> None:
    known = record("ss_net", "smoothness of a small network")
    network, image = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)).train(), normal(3, 3, 1, 24, 24)
    network[0].weight.data, network[0].bias.data = normal(1, 4, 1, 3, 3), normal(2, 4)
    p = torch.softmax(network(image), 1).detach()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(known["inputs"]["generator"])
    loss = smoothness(network, image, p, known["inputs"]["magnitude"])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    compare(known, outcome(loss, network[0].weight), image)
    network(image)
    assert not torch.equal(network[1].running_mean, before["1.running_mean"])


def test_ss_net_s_separation(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.ss_net.smoothness", lambda network, image, p, magnitude: torch.zeros(()))
    torch.manual_seed(0)
    task = make_task(unet_widths=(16, 32), unet_dropout=(0.0, 0.0))
    method: Any = registry.load("methods", "ss_net")(task, registry.load("methods", "ss_net").Hparams())  # type: ignore[attr-defined]
    heads = [p for each in (method.train().project, method.predict, method.weigh) for p in each.parameters()]
    for i, p in enumerate(heads):
        p.data = 0.3 * normal(100 + i, *p.shape)
    for number in ("1", "2"):
        known = record("ss_net", f"separation in step {number} of two")
        first, second, third = known["inputs"]["seeds"]
        logits, features, label = 3 * normal(first, 4, 4, 24, 24), normal(second, 4, 16, 24, 24), labels(third, 4, 4, 24, 24)
        if not known["inputs"]["class 3 is found"]:
            logits[:, 3] -= 100
        features.requires_grad_()
        view = View([], [], features, logits, torch.softmax(logits[2:], 1))
        batch = replace(task.bank.batch(0, 0, 2, 2), label=label[:2])
        loss = torch.stack([*method.extra(view, batch, Step(*known["inputs"]["step"])).values()]).sum()
        found = outcome(loss, *(p for p in heads if p.requires_grad), features)
        found["memory"] = method.memory.abs().sum((1, 2)).tolist()[1:]
        compare(known, found, logits, features.detach(), label)


def test_dc_net(make_task: Callable[..., Task]) -> None:
    """Three steps: the threshold moves from one to the next."""
    method = build(make_task, "dc_net")
    for number in ("first", "second", "third"):
        (known,) = (each for each in recorded("dc_net")["records"] if f"{number} of three" in each["what"])
        first, sharp = known["inputs"]["first seed"], known["inputs"]["logits"]
        logits = [(sharp * normal(first + i, 4, 4, 32, 32)).requires_grad_() for i in range(2)]
        encoder, decoder = (
            [normal(first + start + level, 4, 16 << level, 32 >> level, 32 >> level) for level in range(4)] for start in (2, 6)
        )
        maps = [each.requires_grad_() for each in encoder]
        deepest, answer = torch.zeros(4, 256, 2, 2), logits[1]
        method.second.forward = lambda maps, decoded=[deepest, *decoder[::-1]]: decoded
        method.classify.forward = lambda features, answer=answer: answer
        view = View([*maps, deepest], [], maps[0], logits[0], torch.softmax(logits[0][2:], 1))
        terms = method.extra(view, batch_of(method, torch.zeros(2, 32, 32, dtype=torch.long)), Step(*known["inputs"]["step"]))
        loss = torch.stack([value for name, value in terms.items() if name != "auxiliary"]).sum()
        found = outcome(loss, *logits, *maps) | {"threshold": float(method.threshold)}
        compare(known, found, *(x.detach() for x in (*logits, *maps)), *decoder)
