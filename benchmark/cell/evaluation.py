"""From volumes to predictions to rows of metrics, on each volume's native grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.cell.metrics import volume_metrics
from benchmark.ground.protocol import Protocol
from datasets.dataset import IGNORE, Volume
from datasets.slices import resize_image
from methods.method import Method, Propagator
from methods.parts.losses import most_likely

SLICES_AT_ONCE = 32
VOXEL_SPACING = (1.0, 1.0, 1.0)


def predict(
    method: Method | Propagator,
    volumes: Sequence[Volume],
    protocol: Protocol,
    device: torch.device,
    reported_only: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Each network's classes for each volume, in order: (D, H, W) uint8 on the native grid. The method's mode is left as it was.

    Slices of several volumes go through the networks together. Probabilities are resized to the native slice size (bilinear) before
    the argmax. reported_only: the first network alone.
    """
    if isinstance(method, Propagator):
        for v in volumes:
            unlabelled = Volume(v.name, v.case, v.image, None, v.spacing, v.spacing_known)
            yield {name: label.cpu().numpy() for name, label in method.segment(unlabelled).items()}
        return
    waiting = deque(volumes)
    known: dict[str, Tensor] = {}
    for chunk in _chunks(volumes, protocol.image_size):
        for network, found in probabilities(method, chunk.to(device), reported_only).items():
            known[network] = torch.cat([known[network], found]) if network in known else found
        slices = len(next(iter(known.values())))
        while waiting and waiting[0].shape[0] <= slices:
            depth, *native = waiting.popleft().shape
            yield {network: classes_of(p[:depth], native) for network, p in known.items()}
            known, slices = {network: p[depth:] for network, p in known.items()}, slices - depth


def _chunks(volumes: Sequence[Volume], size: int) -> Iterator[Tensor]:
    """The volumes' slices (N, C, size, size), SLICES_AT_ONCE together, the rest last."""
    left = []
    for volume in volumes:
        left.append(resize_image(volume, size))
        if sum(map(len, left)) >= SLICES_AT_ONCE:
            *full, rest = torch.cat(left).split(SLICES_AT_ONCE)
            left = [rest]
            yield from full
    if left:
        yield torch.cat(left)


@torch.no_grad()
def probabilities(method: Method, image: Tensor, reported_only: bool) -> dict[str, Tensor]:
    """Each network's class probabilities (N, K, P, P) in evaluation mode."""
    training = method.training
    method.eval()
    found = method.predictions(image)
    method.train(training)
    return dict(list(found.items())[:1]) if reported_only else found


@torch.no_grad()
def classes_of(found: Tensor, native: list[int]) -> np.ndarray:
    """The most likely classes (D, H, W) uint8 at the native slice size, of probabilities (D, K, P, P)."""
    return torch.cat([most_likely(part)[1].to(torch.uint8) for part in at_native_size(found, native)]).cpu().numpy()


def at_native_size(found: Tensor, native: list[int]) -> Iterator[Tensor]:
    """Probabilities (N, K, P, P) of slices as (n, K, H, W), SLICES_AT_ONCE together."""
    for part in found.split(SLICES_AT_ONCE):
        yield F.interpolate(part, native, mode="bilinear", align_corners=False)


def evaluate(
    method: Method | Propagator,
    volumes: Sequence[Volume],
    classes: tuple[str, ...],
    protocol: Protocol,
    device: torch.device,
    columns: dict[str, str],
    scored: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the long table for labelled volumes: ``columns`` (test_set, selection) with case, volume, network, class, metric, value.

    Distances are in mm, or in voxels where the data stores no spacing. Voxels labelled IGNORE count as background in the prediction too.
    scored: the classes that get rows; None: all.
    """
    rows = []
    for volume, predictions in zip(volumes, predict(method, volumes, protocol, device), strict=True):
        truth = _label(volume)
        spacing = volume.spacing if volume.spacing_known else VOXEL_SPACING
        for network, prediction in predictions.items():
            asked = _without_ignored(prediction, truth)
            for label, metric, value in volume_metrics(asked, truth, len(classes), spacing, protocol.tolerance):
                if scored is not None and label not in scored:
                    continue
                place = {"case": volume.case, "volume": volume.name, "class": classes[label], "network": network}
                rows.append({**columns, **place, "metric": metric, "value": value})
    return rows


def _label(volume: Volume) -> np.ndarray:
    """The label of a volume that must have one, read once where it is read on demand."""
    label = volume.label
    assert label is not None
    return label


def _without_ignored(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The prediction with background where the label is IGNORE."""
    ignored = label == IGNORE
    return np.where(ignored, 0, prediction).astype(prediction.dtype) if ignored.any() else prediction


def validation_score(
    method: Method, volumes: Sequence[Volume], classes: Sequence[int], protocol: Protocol, device: torch.device
) -> float:
    """Mean DSC of the reported network over ``classes`` and volumes, both-empty counted as 1, voxels labelled IGNORE left out."""
    scores = []
    for volume, predictions in zip(volumes, predict(method, volumes, protocol, device, reported_only=True), strict=True):
        truth, (prediction,) = _label(volume), predictions.values()
        prediction = _without_ignored(prediction, truth)
        for label in classes:
            found, wanted = prediction == label, truth == label
            total = int(found.sum()) + int(wanted.sum())
            scores.append(2 * int((found & wanted).sum()) / total if total else 1.0)
    return float(np.mean(scores))


def never_predicted(
    method: Method, volumes: Sequence[Volume], classes: tuple[str, ...], protocol: Protocol, device: torch.device
) -> list[str]:
    """The foreground classes that are in some of the volumes and in no prediction of the reported network."""
    there, found = np.zeros(len(classes), dtype=bool), np.zeros(len(classes), dtype=bool)
    for volume, predictions in zip(volumes, predict(method, volumes, protocol, device, reported_only=True), strict=True):
        (prediction,) = predictions.values()
        found[np.unique(prediction)] = True
        there[[k for k in np.unique(_label(volume)) if k != IGNORE]] = True
    return [name for name, missing in zip(classes[1:], (there & ~found)[1:], strict=True) if missing]
