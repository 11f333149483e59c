"""What training volumes look like, in a few numbers, and whether another scan is like them: a network knows nothing else."""

from __future__ import annotations

import numpy as np

from datasets.dataset import Volume
from datasets.reading import Place

Ranges = dict[str, tuple[float, float]]
"""By what is measured: the least and the most over volumes."""

FACTORS = {"spacing": 1.5, "extent": 2.0, "depth": 2.0, "width": 1.3, "contrast": 2.0}
MARGINS = {"brightness": 0.15, "tilt": 20.0}
"""How far beyond those of training a scan's numbers may lie, by the first word of their names: by a factor, or by so much."""

UNITS = {"spacing": " mm", "extent": " mm", "tilt": " degrees"}
AXES = ("slices", "rows", "columns")


def look_of(volume: Volume, place: Place) -> dict[str, float]:
    """A volume's numbers by name: geometry in mm, as far as spacing is known, and the intensities of each channel as networks see them."""
    found: dict[str, float] = {}
    size = np.array(volume.image.shape[1:], float)
    if volume.spacing_known:
        size *= volume.spacing
        found = {f"spacing of {name}": float(step) for name, step in zip(AXES, volume.spacing, strict=True)}
        found |= {f"extent across {name}": float(length) for name, length in zip(AXES, size, strict=True)}
        found |= {"depth by height": float(size[0] / size[1]), "tilt of the axes": place.tilt}
    found["width by height"] = float(size[2] / size[1])
    for number, channel in enumerate(volume.image):
        of = f" of channel {number}" if len(volume.image) > 1 else ""
        found |= {f"brightness{of}": float(channel.mean()), f"contrast{of}": float(channel.std())}
    return found


def widened(ranges: Ranges, look: dict[str, float]) -> Ranges:
    """The ranges with one more volume in them."""
    return {
        name: (min(low, value), max(high, value))
        for name, value in look.items()
        for low, high in [ranges.get(name, (value,) * 2)]
    }


def unlike(look: dict[str, float], seen: Ranges) -> list[str]:
    """In what a scan is not like those of training, a sentence with numbers for each; empty where it is like them."""
    told = []
    for name, (low, high) in seen.items():
        kind, value = name.partition(" ")[0], look.get(name)
        unit = UNITS.get(kind, "")
        if value is None:
            told.append(f"its {name} is not stored; in training it is {low:.4g} to {high:.4g}{unit}")
            continue
        factor, margin = FACTORS.get(kind, 1.0), MARGINS.get(kind, 0.0)
        if not low / factor - margin <= value <= high * factor + margin:
            told.append(f"its {name} is {value:.4g}{unit}; in training {low:.4g} to {high:.4g}{unit}")
    return told
