"""From volumes to predictions to rows of metrics, on each volume's native grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.metrics import volume_metrics
from benchmark.protocol import Protocol
from datasets.dataset import Volume
from datasets.slices import resize_image
from methods.losses import most_likely
from methods.method import Method, Propagator

SLICES_AT_ONCE = 32
VOXEL_SPACING = (1.0, 1.0, 1.0)


def predict(
    method: Method | Propagator, volume: Volume, protocol: Protocol, device: torch.device, reported_only: bool = False
) -> dict[str, np.ndarray]:
    """Each network's classes for a volume: (D, H, W) uint8 on the native grid. The method's mode is left as it was.

    Probabilities are resized to the native slice size (bilinear) before the argmax. reported_only: the first network alone.
    """
    if isinstance(method, Propagator):
        return {name: label.cpu().numpy() for name, label in method.segment(replace(volume, label=None)).items()}
    return _predict_slices(method, volume, protocol, device, reported_only)


@torch.inference_mode()
def _predict_slices(
    method: Method, volume: Volume, protocol: Protocol, device: torch.device, reported_only: bool
) -> dict[str, np.ndarray]:
    training = method.training
    method.eval()
    slices = resize_image(volume, protocol.image_size).to(device)
    native = volume.image.shape[2:]
    parts: dict[str, list[Tensor]] = {}
    for chunk in slices.split(SLICES_AT_ONCE):
        predictions = list(method.predictions(chunk).items())
        for network, probabilities in predictions[:1] if reported_only else predictions:
            full = F.interpolate(probabilities, native, mode="bilinear", align_corners=False)
            parts.setdefault(network, []).append(most_likely(full)[1].to(torch.uint8))
    method.train(training)
    return {network: torch.cat(chunks).cpu().numpy() for network, chunks in parts.items()}


def evaluate(
    method: Method | Propagator,
    volumes: Iterable[Volume],
    classes: tuple[str, ...],
    protocol: Protocol,
    device: torch.device,
    columns: dict[str, str],
) -> list[dict[str, Any]]:
    """Rows of the long table for labelled volumes: ``columns`` (test_set, selection) with case, volume, network, class, metric, value.

    Distances are in mm, or in voxels where the data stores no spacing.
    """
    rows = []
    for volume in volumes:
        assert volume.label is not None
        spacing = volume.spacing if volume.spacing_known else VOXEL_SPACING
        for network, prediction in predict(method, volume, protocol, device).items():
            for label, metric, value in volume_metrics(prediction, volume.label, len(classes), spacing, protocol.tolerance):
                place = {"case": volume.case, "volume": volume.name, "class": classes[label], "network": network}
                rows.append({**columns, **place, "metric": metric, "value": value})
    return rows


def validation_score(method: Method, volumes: list[Volume], classes: int, protocol: Protocol, device: torch.device) -> float:
    """Mean DSC of the reported network over foreground classes and volumes, both-empty counted as 1."""
    scores = []
    for volume in volumes:
        assert volume.label is not None
        prediction = next(iter(predict(method, volume, protocol, device, reported_only=True).values()))
        for label in range(1, classes):
            found, truth = prediction == label, volume.label == label
            total = int(found.sum()) + int(truth.sum())
            scores.append(2 * int((found & truth).sum()) / total if total else 1.0)
    return float(np.mean(scores))
