"""DSC, HD95, ASSD, NSD and relative volume error of a 3-D segmentation, and what they are when a mask is empty.

Definitions (Maier-Hein et al., Metrics Reloaded, Nature Methods 2024), for a prediction P and a true mask T of one class:

- Surface: the voxels of a mask with a face neighbour outside it; what lies outside the volume is outside the mask. So in a
  volume of one slice every voxel of the mask is surface, as it is in medpy and MONAI.
- Directed distances: from the centre of each surface voxel of one mask to the nearest centre of the other's, in the unit of
  the spacing (mm, or voxels where it is 1).
- dsc = 2|P & T| / (|P| + |T|).
- hd95: the larger of the 95th percentiles of the two sets of directed distances.
- assd: the mean over both sets pooled.
- nsd: the fraction of both sets pooled that is within the tolerance (Nikolov et al., JMIR 2021, counting surface voxels).
- rve = (|P| - |T|) / |T|: above 0 is too large.
- hd95_legacy: what medpy returns, the 95th percentile of both sets pooled, in voxels; 0 where a mask is empty, as SSL4MIS
  writes it. Only for comparison with tables published that way.
- missed: 1 where exactly one of the masks is empty.

Empty masks: both empty is a perfect answer (dsc = nsd = 1) without distances (hd95, assd, rve are NaN: left out of means,
counted). One empty is the worst answer (dsc = nsd = 0, hd95 = assd = the diagonal of the volume; rve is NaN if the truth is the
empty one). MONAI's metrics are NaN or infinite there, and compute the surfaces once per metric: hence SciPy, once for all.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import KDTree

Spacing = tuple[float, float, float]
VOXELS = (1.0, 1.0, 1.0)
ROUNDING = 1e-9  # relative: three voxels of 0.1 mm are within 0.3 mm


def volume_metrics(
    prediction: np.ndarray, label: np.ndarray, classes: int, spacing: Spacing, tolerance: float
) -> list[tuple[int, str, float]]:
    """Every metric of every foreground class as (class, metric, value).

    Args:
        prediction: (D, H, W) class numbers, integer.
        label: (D, H, W) class numbers, integer.
        classes: how many there are, background (class 0) included.
        spacing: (z, y, x) in mm; ones for distances in voxels.
        tolerance: of NSD, in the unit of the spacing.
    """
    assert prediction.shape == label.shape, (prediction.shape, label.shape)
    diagonal = float(np.linalg.norm(np.multiply(label.shape, spacing)))
    boxes = zip(find_objects(prediction, classes - 1), find_objects(label, classes - 1), strict=True)
    rows = []
    for number, (found_box, true_box) in enumerate(boxes, start=1):
        if found_box is None or true_box is None:
            values = _with_an_empty_mask(found_box is None, true_box is None, diagonal)
        else:
            box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(found_box, true_box, strict=True))
            values = _overlap_and_distances(prediction[box] == number, label[box] == number, spacing, tolerance)
        rows += [(number, metric, value) for metric, value in values.items()]
    return rows


def _overlap_and_distances(found: np.ndarray, truth: np.ndarray, spacing: Spacing, tolerance: float) -> dict[str, float]:
    """The metrics of two non-empty masks, cropped to a common box."""
    n_found, n_true = np.count_nonzero(found), np.count_nonzero(truth)
    surfaces = _surface(found), _surface(truth)
    there, back = _distances(*surfaces, spacing)
    both = np.concatenate([there, back])
    voxels = both if spacing == VOXELS else np.concatenate(_distances(*surfaces, VOXELS))
    return {
        "dsc": 2 * np.count_nonzero(found & truth) / (n_found + n_true),
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float(both.mean()),
        "nsd": float((both <= tolerance * (1 + ROUNDING)).mean()),
        "rve": (n_found - n_true) / n_true,
        "hd95_legacy": float(np.percentile(voxels, 95)),
        "missed": 0.0,
    }


def _with_an_empty_mask(found_empty: bool, true_empty: bool, diagonal: float) -> dict[str, float]:
    """The metrics where the prediction, the truth or both are empty."""
    both = found_empty and true_empty
    return {
        "dsc": float(both),
        "hd95": np.nan if both else diagonal,
        "assd": np.nan if both else diagonal,
        "nsd": float(both),
        "rve": np.nan if true_empty else -1.0,
        "hd95_legacy": 0.0,
        "missed": float(not both),
    }


def _surface(mask: np.ndarray) -> np.ndarray:
    """The mask's surface voxels, as a mask. An eighth of the time of SciPy's erosion, whose structuring element may be any."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        at, whole = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        at[1:] &= whole[:-1]
        at[:-1] &= whole[1:]
        at[[0, -1]] = False
    return mask & ~inner


def _distances(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each voxel of the mask ``a`` to the nearest of ``b``, and the other way; in no particular order."""
    return _directed(a, b, spacing), _directed(b, a, spacing)


def _directed(a: np.ndarray, b: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Distance from each voxel of the mask ``a`` to the nearest of ``b``.

    A tree of surface voxels: a distance map has every voxel of the box, of which all but these few are of no use.
    """
    distances = np.zeros(np.count_nonzero(a))
    apart = np.argwhere(a & ~b) * np.asarray(spacing)  # the voxels in common stay at 0: nothing to search
    tree = KDTree(np.argwhere(b) * np.asarray(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
    distances[: len(apart)] = tree.query(apart)[0]
    return distances
