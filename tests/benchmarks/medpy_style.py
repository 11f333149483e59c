"""Metrics class by class, written from their definitions, with nothing shared: as scripts of the field compute them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt


def surface(mask: np.ndarray) -> np.ndarray:
    """The voxels of a mask with a face neighbour outside it, as a mask."""
    outside: np.ndarray = mask & ~binary_erosion(mask)
    return outside


def surface_distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Distance of each surface voxel of ``a`` to the surface of ``b``, by a distance map of the whole volume."""
    a_surface, b_surface = (surface(mask) for mask in (a, b))
    return distance_transform_edt(~b_surface, sampling=spacing)[a_surface]


def dsc(a: np.ndarray, b: np.ndarray) -> float:
    """2|A & B| / (|A| + |B|)."""
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    """The larger of the directed 95th percentiles."""
    return float(max(np.percentile(surface_distances(*pair, spacing), 95) for pair in ((a, b), (b, a))))


def assd(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    """Mean of both sets of surface distances."""
    return float(np.concatenate([surface_distances(a, b, spacing), surface_distances(b, a, spacing)]).mean())


def nsd(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> float:
    """Share of both sets of surface distances within the tolerance."""
    return float((np.concatenate([surface_distances(a, b, spacing), surface_distances(b, a, spacing)]) <= tolerance).mean())


def volume_metrics(
    prediction: np.ndarray, label: np.ndarray, classes: int, spacing: tuple[float, ...], tolerance: float
) -> dict[tuple[int, str], float]:
    """The four metrics of every foreground class."""
    found = {}
    for number in range(1, classes):
        a, b = prediction == number, label == number
        found[number, "dsc"] = dsc(a, b)
        found[number, "hd95"] = hd95(a, b, spacing)
        found[number, "assd"] = assd(a, b, spacing)
        found[number, "nsd"] = nsd(a, b, spacing, tolerance)
    return found
