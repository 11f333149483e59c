"""What the harness does to a cell, in numbers: where they change, HARNESS has to be raised, or old results are averaged with new ones.

A method of one convolution, on the phantom, with rules of its own: only slices, batches, the loop and the evaluation are in it.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.cell.evaluation import evaluate, validation_score
from benchmark.cell.training import fit
from benchmark.ground.environment import make_deterministic
from benchmark.ground.protocol import PROTOCOLS
from benchmark.records.fingerprint import HARNESS
from benchmark.records.store import CellFolder
from datasets.dataset import Volume
from datasets.phantom import Phantom
from datasets.slices import Batch, SliceBank
from methods.method import Method, Step, Task

NUMBERS = Path(__file__).with_name("harness_bits.json")
CLOSE = 1e-3
"""Relative; processors differ by far less after so few steps."""


class Convolution(Method):
    """A convolution that starts as a choice of the nearest of as many intensities as there are classes."""

    def build(self, task: Task) -> None:
        levels = torch.linspace(0, 1, task.classes)
        self.weight = nn.Parameter((20 / 9 * levels)[:, None, None, None].expand(task.classes, 1, 3, 3).clone())
        self.bias = nn.Parameter(-10 * levels.square())

    def logits(self, image: Tensor) -> Tensor:
        return F.conv2d(image, self.weight, self.bias, padding=1)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        logits = self.logits(batch.image + 0.01 * torch.randn_like(batch.image))
        squares = step.ramp * torch.softmax(logits[batch.labelled :], 1).square().mean()
        return {"supervised": F.cross_entropy(logits[: batch.labelled], batch.label), "squares": squares}

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.logits(image), 1)}


def numbers(folder: Path) -> dict[str, Any]:
    """Of batches, training and evaluation, what is compared."""
    make_deterministic()
    dataset, protocol, device = Phantom(), PROTOCOLS["smoke"], torch.device("cpu")
    train = dataset.split.train[:4]
    volumes: list[Volume] = [v for case in train for v in dataset.read(case, labels=case in train[:2])]
    task = Task(
        len(dataset.classes),
        1,
        protocol,
        SliceBank(volumes, protocol.image_size, device),
        lambda recipe: pytest.fail("no registration here"),
        lambda volume, recipe: pytest.fail("no registration here"),
    )
    batches = [task.bank.batch(3, step, 4, 4) for step in (0, 7, 40)]
    method = Convolution(task, Convolution.Hparams())
    validation = list(dataset.read(dataset.split.val[0], labels=True))
    fitted = fit(
        method,
        3,
        CellFolder(folder),
        lambda m: validation_score(m, validation, range(1, len(dataset.classes)), protocol, device),
        lambda progress: None,
        lambda: False,
    )
    test = list(dataset.read(next(iter(dataset.split.tests.values()))[0], labels=True))
    rows = evaluate(method, test, dataset.classes, protocol, device, {})
    return {
        "rows": [batch.slice.tolist() for batch in batches],
        "images": [[float(batch.image.mean()), float(batch.image.square().mean())] for batch in batches],
        "labels": [float(batch.label.float().mean()) for batch in batches],
        "maps": [float(batch.to_slice.abs().sum()) for batch in batches],
        "losses": [row["loss"] for row in fitted.history],
        "validation": [score for _, score in fitted.looks],
        "weights": method.weight.flatten().tolist()[:12],
        "metrics": {f"{row['class']} {row['metric']}": row["value"] for row in rows},
    }


def flat(value: Any, name: str = "") -> dict[str, float]:
    """Every number by its place."""
    if isinstance(value, (dict, list)):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: number for key, part in parts for place, number in flat(part, f"{name}/{key}").items()}
    return {name: math.nan if value is None else float(value)}


def test_bits_change_only_with_the_version_of_the_harness(tmp_path: Path) -> None:
    found = numbers(tmp_path)
    known = json.loads(NUMBERS.read_text()).get(str(HARNESS))
    advice = f"raise HARNESS in benchmark/records/fingerprint.py, tell the CHANGELOG and put this into {NUMBERS.name} under it:"
    assert known is not None, f"there are no numbers of version {HARNESS}; add {json.dumps(found)}"
    assert flat(found).keys() == flat(known).keys(), f"{advice} {json.dumps(found)}"
    close = {place: pytest.approx(number, rel=CLOSE, abs=1e-6, nan_ok=True) for place, number in flat(known).items()}
    assert flat(found) == close, f"bits of slices, batches, training or evaluation have changed; {advice} {json.dumps(found)}"
