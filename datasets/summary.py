"""What is in a dataset: its volumes, classes and splits as a table, and a few slices to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.checks import uses
from datasets.dataset import IGNORE
from datasets.prepared import Prepared
from datasets.readers import count_values

PICTURED = 12
MEASURED = 20
"""Volumes on which the pixels' ceiling is measured."""


@dataclass(frozen=True)
class Sample:
    """A slice for a picture, upright: image (H, W) of the first channel and, where the volume has one, its label (H, W)."""

    title: str
    image: np.ndarray
    label: np.ndarray | None


@dataclass(frozen=True)
class Summary:
    """volumes: a row each (case, volume, use, depth, height, width, z, y, x in mm, and voxels of each class; NaN where unlabelled).

    samples: random slices, the same for the same dataset; ones with foreground where the volume has any.
    ceilings: by image size in pixels, the mean Dice of each foreground class (in order; NaN where none was seen) that a network would reach
    with slices of that size if it were never wrong, over the first MEASURED labelled volumes.
    """

    dataset: Prepared
    volumes: pd.DataFrame
    samples: list[Sample]
    ceilings: dict[int, np.ndarray]


def summarise(dataset: Prepared, sizes: Sequence[int]) -> Summary:
    """Read every volume once. sizes: of square slices, pixels, whose ceilings are wanted."""
    rng = np.random.default_rng(0)
    chosen = set(rng.permutation([entry.name for entry in dataset.manifest.volumes])[:PICTURED])
    rows, samples = [], []
    found: dict[int, list[np.ndarray]] = {size: [] for size in sizes}
    for case, use in uses(dataset).items():
        for volume in dataset.read(case, labels=True):
            depth, height, width = volume.image.shape[1:]
            counts = np.full(len(dataset.classes), np.nan)
            if volume.label is not None:
                counts = count_values(volume.label)[: len(dataset.classes)].astype(float)
                for pixels, scores in found.items():
                    if len(scores) < MEASURED:
                        scores.append(ceiling(volume.label, pixels, len(dataset.classes)))
            size = {"depth": depth, "height": height, "width": width} | dict(zip("zyx", volume.spacing, strict=True))
            rows.append(
                {"case": case, "volume": volume.name, "use": use} | size | dict(zip(dataset.classes, counts, strict=True))
            )
            if volume.name in chosen:
                shown = (
                    np.arange(depth)
                    if volume.label is None
                    else np.flatnonzero(((volume.label > 0) & (volume.label != IGNORE)).any((1, 2)))
                )
                plane = int(rng.choice(shown if len(shown) else np.arange(depth)))
                rows_of = slice(None, None, -1 if volume.spacing_known else 1)  # the body's axes run from back to front and up
                label = None if volume.label is None else volume.label[plane, rows_of].copy()
                samples.append(
                    Sample(f"{volume.name} ({use}), slice {plane + 1}", volume.image[0, plane, rows_of].copy(), label)
                )
            del volume  # not kept while the next case is read
    return Summary(dataset, pd.DataFrame(rows), samples, {size: _mean(scores) for size, scores in found.items() if scores})


def ceiling(label: np.ndarray, size: int, classes: int) -> np.ndarray:
    """Dice (classes - 1,) of a mask (D, H, W) with itself after it was resized to ``size`` x ``size`` pixels and back, as a training label
    and as a network's probabilities are; NaN for a class that it has not; IGNORE counts as background.
    """
    import torch
    from torch.nn import functional as F

    from datasets.slices import resize_label

    both, either = np.zeros(classes), np.zeros(classes)
    for plane in label:  # one at a time: a volume of int64 is large
        truth = np.where(plane == IGNORE, 0, plane).astype(np.int64)
        small = resize_label(torch.from_numpy(truth[None]), size)
        back = (
            F.interpolate(F.one_hot(small, classes).movedim(-1, 1).float(), truth.shape, mode="bilinear").argmax(1)[0].numpy()
        )
        both += np.bincount(truth[back == truth], minlength=classes)
        either += np.bincount(truth.ravel(), minlength=classes) + np.bincount(back.ravel(), minlength=classes)
    shown = np.isin(np.arange(classes), label)[1:]
    return np.where(shown, 2 * both[1:] / np.maximum(either[1:], 1), np.nan)


def _mean(scores: list[np.ndarray]) -> np.ndarray:
    """Mean over volumes that have a class, a class each."""
    stack = np.stack(scores)
    seen = (~np.isnan(stack)).sum(0)
    return np.where(seen, np.nansum(stack, 0) / np.maximum(seen, 1), np.nan)
