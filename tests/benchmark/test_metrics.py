"""Metrics against an independent brute force over random masks, and against known answers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.cell.metrics import volume_metrics

SPACINGS = st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 1.4, 3.0, 10.0])] * 3)


def measure(prediction, label, classes=2, spacing=(1.0, 1.0, 1.0), tolerance=1.0):
    rows = volume_metrics(np.asarray(prediction, np.uint8), np.asarray(label, np.uint8), classes, spacing, tolerance)
    return {(number, metric): value for number, metric, value in rows}


def surface_points(mask):
    """Foreground voxels with a face neighbour that is background or outside the volume."""
    points = []
    for z, y, x in np.argwhere(mask):
        for dz, dy, dx in [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]:
            neighbour = (z + dz, y + dy, x + dx)
            outside = any(not 0 <= position < size for position, size in zip(neighbour, mask.shape, strict=True))
            if outside or not mask[neighbour]:
                points.append((z, y, x))
                break
    return np.array(points, float)


def all_pairs(a, b, spacing):
    return np.sqrt((((a[:, None] - b[None]) * np.array(spacing)) ** 2).sum(-1))


def brute_force(p, t, spacing, tolerance):
    """The definitions of benchmark.cell.metrics, with a distance for every pair of surface voxels."""
    if not p.any() and not t.any():
        return dict(dsc=1, hd95=np.nan, assd=np.nan, nsd=1, rve=np.nan, hd95_legacy=0, missed=0)
    if not p.any() or not t.any():
        far = sum((n * s) ** 2 for n, s in zip(p.shape, spacing, strict=True)) ** 0.5
        return dict(dsc=0, hd95=far, assd=far, nsd=0, rve=-1 if t.any() else np.nan, hd95_legacy=0, missed=1)
    a, b = surface_points(p), surface_points(t)
    pairs = all_pairs(a, b, spacing)
    pooled = [*pairs.min(1), *pairs.min(0)]
    voxel_pairs = all_pairs(a, b, (1, 1, 1))
    return dict(
        dsc=2 * (p & t).sum() / (p.sum() + t.sum()),
        hd95=max(np.percentile(pairs.min(1), 95), np.percentile(pairs.min(0), 95)),
        assd=sum(pooled) / len(pooled),
        nsd=sum(distance <= tolerance + 1e-6 for distance in pooled) / len(pooled),
        rve=(float(p.sum()) - t.sum()) / t.sum(),
        hd95_legacy=np.percentile([*voxel_pairs.min(1), *voxel_pairs.min(0)], 95),
        missed=0,
    )


@st.composite
def segmentations(draw):
    """A pair of label maps made of a few boxes (also one voxel, also at the border) and noise; one slice or several."""
    shape = (draw(st.sampled_from([1, 2, 5])), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    maps = []
    for _ in range(2):
        volume = np.zeros(shape, np.uint8)
        for _ in range(draw(st.integers(0, 3))):
            box = []
            for size in shape:
                start = draw(st.integers(0, size - 1))
                box.append(slice(start, draw(st.integers(start + 1, size))))
            volume[tuple(box)] = draw(st.integers(0, 2))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        noise = rng.random(shape) < draw(st.sampled_from([0.0, 0.0, 0.1]))
        maps.append(np.where(noise, rng.integers(0, 3, shape), volume).astype(np.uint8))
    return maps


@settings(max_examples=150, deadline=None, derandomize=True)
@given(segmentations(), SPACINGS, st.sampled_from([0.3, 1.0, 2.0]))
def test_every_metric_equals_brute_force(maps, spacing, tolerance):
    prediction, label = maps
    found = measure(prediction, label, 3, spacing, tolerance)
    expected = {
        (number, metric): value
        for number in (1, 2)
        for metric, value in brute_force(prediction == number, label == number, spacing, tolerance).items()
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), key


def one_voxel(*where, shape=(3, 5, 5)):
    volume = np.zeros(shape, np.uint8)
    volume[where] = 1
    return volume


@pytest.mark.parametrize("axis,distance", [(0, 10.0), (1, 1.5), (2, 0.5)])
def test_distances_use_the_spacing_of_their_axis(axis, distance):
    moved = [1, 1, 1]
    moved[axis] += 1
    found = measure(one_voxel(1, 1, 1), one_voxel(*moved), spacing=(10.0, 1.5, 0.5))
    assert (found[1, "hd95"], found[1, "assd"], found[1, "hd95_legacy"]) == (distance, distance, 1.0)


def test_hd95_is_the_larger_direction_and_legacy_pools_both():
    label, prediction = np.zeros((1, 1, 100)), np.zeros((1, 1, 100))
    label[..., :2] = 1
    prediction[..., :50] = 1  # 50 voxels at 0, 0, 1, ... 48 from the truth, whose 2 are at 0
    found = measure(prediction, label)
    assert found[1, "hd95"] == pytest.approx(np.percentile([0, *range(49)], 95))
    assert found[1, "hd95_legacy"] == pytest.approx(np.percentile([0, 0, 0, *range(49)], 95))
    assert found[1, "assd"] == pytest.approx(sum(range(49)) / 52)
    assert found[1, "rve"] == 24.0


@pytest.mark.parametrize("step,voxels", list(product([0.1, 0.3, 0.7, 1.1, 1.3], [1, 3])))
def test_a_surface_exactly_at_the_tolerance_is_within_it(step, voxels):
    found = measure(one_voxel(0, 0, 0), one_voxel(0, 0, voxels), spacing=(1, 1, step), tolerance=float(f"{step * voxels:.1f}"))
    assert found[1, "nsd"] == 1.0


def test_empty_masks():
    nothing, something = np.zeros((2, 30, 40)), one_voxel(0, 0, 0, shape=(2, 30, 40))
    spacing = (10.0, 1.0, 2.0)
    diagonal = (20**2 + 30**2 + 80**2) ** 0.5
    both = measure(nothing, nothing, spacing=spacing)
    missed = measure(nothing, something, spacing=spacing)
    invented = measure(something, nothing, spacing=spacing)
    assert (both[1, "dsc"], both[1, "nsd"], both[1, "missed"]) == (1, 1, 0)
    assert np.isnan([both[1, "hd95"], both[1, "assd"], both[1, "rve"]]).all()
    for wrong in (missed, invented):
        assert (wrong[1, "dsc"], wrong[1, "nsd"], wrong[1, "missed"], wrong[1, "hd95_legacy"]) == (0, 0, 1, 0)
        assert wrong[1, "hd95"] == wrong[1, "assd"] == pytest.approx(diagonal)
    assert missed[1, "rve"] == -1
    assert np.isnan(invented[1, "rve"])


def test_background_has_no_row_and_an_absent_class_has():
    assert {number for number, _ in measure(one_voxel(0, 0, 0), one_voxel(0, 0, 0), classes=4)} == {1, 2, 3}


def test_agrees_with_monai_where_both_masks_are_there():
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    rng = np.random.default_rng(0)
    prediction, label = np.zeros((2, 6, 20, 20), np.uint8)
    prediction[0:4, 3:12, 2:18] = 1
    label[1:6, 5:15, 0:14] = 1
    prediction ^= rng.random(prediction.shape) < 0.03
    spacing, tolerance = (8.0, 1.25, 1.5), 2.0
    found = measure(prediction, label, spacing=spacing, tolerance=tolerance)
    pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, label)]
    options = dict(include_background=True, spacing=spacing)
    monai = {
        "hd95": compute_hausdorff_distance(*pair, percentile=95, **options),
        "assd": compute_average_surface_distance(*pair, symmetric=True, **options),
        "nsd": compute_surface_dice(*pair, [tolerance], **options),
    }
    assert {metric: found[1, metric] for metric in monai} == pytest.approx({k: v.item() for k, v in monai.items()}, rel=1e-5)
