"""References: numbers that the authors' own code gave on seeded inputs, and what ours is held to on the same ones.

A record holds what was run (`place` in the repository), its inputs as plain numbers with their checksum, what came out (`official`), and
how far ours departs on purpose (`deviation`: factors by key, and why).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "references"
ENTRIES = 7
TOLERANCE = 1e-5
"""Of single-precision sums in another order; entries of a list are compared relative to the largest."""

Outcome = dict[str, float | Sequence[float]]


def recorded(method: str) -> dict[str, Any]:
    """The reference of a method."""
    return json.loads((FOLDER / f"{method}.json").read_text())


def record(method: str, what: str) -> dict[str, Any]:
    """The one record of a method that says ``what``."""
    (found,) = (r for r in recorded(method)["records"] if r["what"] == what)
    return found


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(seed: int, classes: int, *shape: int) -> Tensor:
    """Classes, int64, each pixel for itself."""
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def checksum(*inputs: Tensor) -> float:
    """Of the inputs: the sum of all their numbers in double precision, weighted by place so that order counts."""
    return sum(float((x.double().flatten() * torch.linspace(0, 1, x.numel(), dtype=torch.float64)).sum()) for x in inputs)


def entries(tensor: Tensor) -> list[float]:
    """A few entries, evenly spread."""
    flat = tensor.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, ENTRIES).long()].tolist()


def outcome(loss: Tensor, *sources: Tensor) -> Outcome:
    """A loss, and the norm and a few entries of its gradient with respect to ``sources``."""
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, sources)])
    return {"loss": float(loss.detach()), "gradient_norm": float(gradient.norm()), "gradient": entries(gradient)}


def compare(record: dict[str, Any], ours: Outcome, *inputs: Tensor) -> None:
    """Ours is the declared factor times the official outcome, key by key; ``inputs`` are still those that were recorded."""
    if inputs:
        assert checksum(*inputs) == pytest.approx(record["inputs_sum"], rel=1e-6), "the seeded inputs are others than recorded"
    official, factors = record["official"], (record["deviation"] or {}).get("factor", {})
    assert set(ours) == set(official) and set(factors) <= set(official)
    for key, expected in official.items():
        wanted = torch.tensor(expected, dtype=torch.float64) * factors.get(key, 1)
        found = torch.tensor(ours[key], dtype=torch.float64)
        assert found.shape == wanted.shape, key
        difference = float((found - wanted).abs().max())
        assert difference <= TOLERANCE * float(wanted.abs().max()), (
            f"{record['what']}: {key} is {ours[key]}, not {wanted.tolist()}"
        )
