"""What is in a dataset: its volumes, classes and splits as a table, and a few slices to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from datasets.checks import uses
from datasets.dataset import IGNORE
from datasets.prepared import Prepared

PICTURED = 12


@dataclass(frozen=True)
class Sample:
    """A slice for a picture: image (H, W) of the first channel and, where the volume has one, its label (H, W)."""

    title: str
    image: np.ndarray
    label: np.ndarray | None


@dataclass(frozen=True)
class Summary:
    """volumes: a row each (case, volume, use, depth, height, width, z, y, x in mm, and voxels of each class; NaN where unlabelled).

    samples: random slices, the same for the same dataset; ones with foreground where the volume has any.
    """

    dataset: Prepared
    volumes: pd.DataFrame
    samples: list[Sample]


def summarise(dataset: Prepared) -> Summary:
    """Read every volume once."""
    rng = np.random.default_rng(0)
    chosen = set(rng.permutation([entry.name for entry in dataset.manifest.volumes])[:PICTURED])
    rows, samples = [], []
    for case, use in uses(dataset).items():
        for volume in dataset.read(case, labels=True):
            depth, height, width = volume.image.shape[1:]
            counts = np.full(len(dataset.classes), np.nan)
            if volume.label is not None:
                counts = np.bincount(volume.label.ravel(), minlength=IGNORE + 1)[: len(dataset.classes)].astype(float)
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
                label = None if volume.label is None else volume.label[plane]
                samples.append(Sample(f"{volume.name} ({use}), slice {plane + 1}", volume.image[0, plane], label))
    return Summary(dataset, pd.DataFrame(rows), samples)
