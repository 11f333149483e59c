"""Registration: CPU seconds and the quality of the labels carried over, on the same pairs as SimpleITK and ANTs.

Both start from the images' centres of mass and find few hearts that lie apart; what they are worth once the place is known, "after our
affine", is measured beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.acdc.dataset import ACDC
from datasets.dataset import Dataset, Volume
from datasets.registration import warp_label
from datasets.registration.engine import Engine, RegistrationConfig, frame_of, prepare
from datasets.registration.pairs import TargetRegistration
from datasets.registration.transform import Transform, warp_image
from tests.benchmarks import other_engines
from tests.benchmarks.ratios import Ledger, Ratio
from tests.benchmarks.scenes import CPU, phantom

SOURCES, TARGETS = 3, 2
TITLE = "Registration: mean Dice of labels carried over, and CPU seconds, on the same pairs"


def volumes_of(dataset: Dataset) -> tuple[list[Volume], list[Volume]]:
    """First frames of labelled cases, and of the last training cases, whose masks only score."""
    train = dataset.split.train
    cases = (train[:SOURCES], train[-TARGETS:])
    sources, targets = ([dataset.read(case, labels=True)[0] for case in some] for some in cases)
    return sources, targets


def dice(found: np.ndarray, target: Volume) -> float:
    """Mean over foreground classes of the target."""
    masks = [(found == k, target.label == k) for k in np.unique(target.label) if k]
    return float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in masks]))


@dataclass
class Found:
    """What an engine made of the pairs: the sources as it placed them on the grids of their targets, with their labels."""

    placed: list[tuple[Volume, Volume]]
    seconds: float
    """CPU seconds a pair."""

    @property
    def score(self) -> float:
        """Mean Dice."""
        assert len(self.placed) == SOURCES * TARGETS
        return float(np.mean([dice(volume.label, target) for volume, target in self.placed]))


def ours(sources: list[Volume], targets: list[Volume], kind: str) -> Found:
    """All sources of a target in one batch."""
    engine = Engine(RegistrationConfig(keep=SOURCES), CPU)
    began = time.process_time()
    ready = [prepare(v, CPU) for v in sources]
    found = []
    for target in targets:
        work = TargetRegistration([v.name for v in sources], [*ready, prepare(target, CPU)].__getitem__, engine, {})
        for i in work.compute(kind):
            found.append((work.pair(i, kind, frame_of(sources[i]), frame_of(target)).transform, sources[i], target))
    seconds = time.process_time() - began
    return Found([(place(*pair), pair[2]) for pair in found], seconds / len(found))


def place(transform: Transform, source: Volume, target: Volume) -> Volume:
    """A source on the grid of its target."""
    image = warp_image(transform, torch.from_numpy(source.image[0])).numpy()[None]
    return replace(target, image=image, label=warp_label(transform, torch.from_numpy(source.label)).numpy())


def theirs(engine: other_engines.Engine, pairs: list[tuple[Volume, Volume]]) -> Found:
    """Pair by pair."""
    began = time.process_time()
    labels = [engine(source, target) for source, target in pairs]
    seconds = time.process_time() - began
    placed = [(replace(target, label=label), target) for label, (_, target) in zip(labels, pairs, strict=True)]
    return Found(placed, seconds / len(pairs))


def unregistered(sources: list[Volume], targets: list[Volume]) -> Found:
    """Grids laid on each other's centres."""
    pairs = [(Transform(frame_of(s), frame_of(t), torch.eye(3, 4)), s, t) for t in targets for s in sources]
    return Found([(place(*pair), pair[2]) for pair in pairs], 0.0)


@cache
def measured(data: str, folder: Path | None) -> tuple[list[tuple[Volume, Volume]], dict[str, Found]]:
    """The pairs of a dataset and what ours finds on them."""
    dataset = phantom() if folder is None else ACDC(folder)
    volumes = volumes_of(dataset)
    found = {f"ours, {kind}": ours(*volumes, kind) for kind in ("affine", "deformable")}
    sources, targets = volumes
    return [(s, t) for t in targets for s in sources], found | {"none: grids centred": unregistered(*volumes)}


@pytest.fixture(params=["phantom", "ACDC"])
def pairs(request: pytest.FixtureRequest) -> tuple[str, Path | None]:
    data: str = request.param
    return data, request.getfixturevalue("acdc_folder") if data == "ACDC" else None


def test_ours(ledger: Ledger, pairs: tuple[str, Path | None]) -> None:
    found = measured(*pairs)[1]
    for engine, result in found.items():
        note(ledger, pairs[0], engine, result)
    gained = found["ours, deformable"].score / found["none: grids centred"].score
    ledger.add(Ratio(f"registration quality: {pairs[0]}, none", "our Dice / Dice of centred grids", gained, "higher", 1))


@pytest.mark.parametrize("package", [other_engines.simple_itk, other_engines.ants])
def test_against(
    ledger: Ledger, pairs: tuple[str, Path | None], package: Callable[[], dict[str, other_engines.Engine]]
) -> None:
    engines = package()
    of_pairs, found = measured(*pairs)
    for engine, run in engines.items():
        after = engine.endswith(other_engines.AFTER_OURS)
        result = theirs(run, found["ours, affine"].placed if after else of_pairs)
        if after:
            result.seconds += found["ours, affine"].seconds
        note(ledger, pairs[0], engine, result)
        own = found["ours, affine" if engine.endswith(" affine") and not after else "ours, deformable"]
        name = f"{pairs[0]}, {engine}"
        ledger.add(Ratio(f"registration speed: {name}", "its seconds a pair / ours", result.seconds / own.seconds, "higher"))
        ledger.add(Ratio(f"registration quality: {name}", "our Dice / its Dice", own.score / result.score, "higher", 1))


def note(ledger: Ledger, data: str, engine: str, found: Found) -> None:
    """A row of the table."""
    row = [data, SOURCES * TARGETS, engine, f"{found.score:.2f}", f"{found.seconds:.1f}"]
    ledger.table(TITLE, ["data", "pairs", "engine", "Dice", "s a pair"], row)
