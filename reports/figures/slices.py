"""Image slices with contours of labels, the same colours everywhere."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes


def class_colours(count: int) -> list[tuple[float, float, float]]:
    """Colours of foreground classes 1, 2, ...; they repeat after ten."""
    palette = sns.color_palette("bright")
    return [palette[k % len(palette)] for k in range(count)]


def draw_slice(axes: Axes, image: np.ndarray, label: np.ndarray | None, other: np.ndarray | None = None) -> None:
    """An image (H, W) in grey with the contours of ``label`` (solid) and of ``other`` (dashed), each (H, W), classes below 255."""
    axes.imshow(image, cmap="gray")
    for mask, style in ((label, "solid"), (other, "dashed")):
        if mask is None:
            continue
        shown = np.unique(mask[(mask > 0) & (mask < 255)])
        colours = class_colours(int(shown.max(initial=0)))
        for k in shown:
            axes.contour(mask == k, [0.5], colors=[colours[k - 1]], linewidths=1.2, linestyles=style)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
