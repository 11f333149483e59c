"""Metrics against distance maps class by class, and against their searches alone; predictions of many volumes against one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial import KDTree

from benchmark.cell.evaluation import predict
from benchmark.cell.metrics import VOXELS, volume_metrics
from tests.benchmarks import medpy_style
from tests.benchmarks.ratios import Ledger, Ratio, interleaved
from tests.benchmarks.scenes import CPU, build, phantom, phantom_task, scored_volumes

SHAPE, SPACING, TOLERANCE = (10, 256, 216), (10.0, 1.5, 1.5), 2.0

SO_MANY = 15
"""Volumes of ours in a turn: a turn of a few milliseconds would catch the processor's best moments only."""


def heart(shape: tuple[int, int, int] = SHAPE, shift: float = 0.0, size: float = 1.0) -> np.ndarray:
    """A ventricle in its wall and one beside it, tapering from base to apex, in a volume of ACDC's size: classes 1 to 3."""
    depth, height, width = shape
    z, y, x = np.ogrid[:depth, :height, :width]
    scale = size * (1 - 0.5 * z / depth) * height / 256
    y, x = y - height / 2 - shift, x - width / 2 - shift
    left = np.hypot(y, x)
    label = np.where(np.hypot(y, (x + 35 * scale) / 1.3) < 22 * scale, 1, 0)
    label = np.where(left < 30 * scale, 2, label)
    label = np.where(left < 20 * scale, 3, label)
    label[[0, -1]] = 0
    return label.astype(np.uint8)


def discs(shift: int = 0) -> np.ndarray:
    """Three rings that fill a quarter of each slice: large surfaces, the hard case for a search tree."""
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    radius = np.hypot(y - 120, x - 110 - shift)
    return np.repeat(((radius < 60).astype(np.uint8) + (radius < 45) + (radius < 30))[None], SHAPE[0], 0)


PAIRS = {
    "a heart, nearly right": (heart(shift=2.5, size=1.05), heart()),
    "a heart, badly wrong": (heart(shift=-15, size=0.7), heart()),
    "rings that fill a quarter": (discs(3), discs()),
}


def metrics_speed(of: str, rounds: int) -> Ratio:
    """How many times as fast as class by class, on a 10 x 256 x 216 volume with 4 classes, for the same numbers."""
    pair = PAIRS[of]
    ours = {(number, metric): value for number, metric, value in volume_metrics(*pair, 4, SPACING, TOLERANCE)}
    theirs = medpy_style.volume_metrics(*pair, 4, SPACING, TOLERANCE)
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, rel=1e-9)
    fast, slow = interleaved(
        lambda: [volume_metrics(*pair, 4, SPACING, TOLERANCE) for _ in range(SO_MANY)],
        lambda: medpy_style.volume_metrics(*pair, 4, SPACING, TOLERANCE),
        rounds,
    )
    return Ratio(f"metrics: {of}", "distance maps class by class / ours", SO_MANY * slow / fast, "higher", 10)


def searches(of: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(from, to) surface points of every class, in both directions and both units: what HD95, ASSD and NSD cannot do without."""
    found = []
    for number, spacing in itertools.product(range(1, 4), (SPACING, VOXELS)):
        a, b = (medpy_style.surface(mask == number) for mask in PAIRS[of])
        found += [(np.argwhere(x & ~y) * spacing, np.argwhere(y) * spacing) for x, y in ((a, b), (b, a))]
    return found


def search(start: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Distance to the nearest point."""
    distances: np.ndarray = KDTree(to, leafsize=32, balanced_tree=False, compact_nodes=False).query(start)[0]
    return distances


def metrics_overhead(of: str, rounds: int) -> Ratio:
    """All of a volume's metrics against nothing but the searches, on ready points: work of one kind, so processors differ little."""
    pair, points = PAIRS[of], searches(of)
    whole, bare = interleaved(
        lambda: [volume_metrics(*pair, 4, SPACING, TOLERANCE) for _ in range(SO_MANY)],
        lambda: [search(start, to) for _ in range(SO_MANY) for start, to in points],
        rounds,
    )
    return Ratio(f"metrics overhead: {of}", "all metrics / their searches alone, on ready points", whole / bare, "lower")


@pytest.mark.parametrize("of", PAIRS)
def test_metrics(ledger: Ledger, of: str) -> None:
    ledger.add(metrics_speed(of, rounds=8))
    ledger.add(metrics_overhead(of, rounds=8))


def test_predictions_of_many_volumes(ledger: Ledger) -> None:
    method, volumes = build(phantom_task(), "supervised"), scored_volumes(phantom())
    protocol = method.task.protocol
    together, alone = interleaved(
        lambda: list(predict(method, volumes, protocol, CPU)),
        lambda: [list(predict(method, [volume], protocol, CPU)) for volume in volumes],
        rounds=5,
    )
    ledger.add(Ratio("prediction: 20 volumes", "one by one / slices of all together", alone / together, "higher"))
