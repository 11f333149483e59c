"""How good the carried-over labels are: the one place where warped labels meet the masks of unlabelled training volumes.

Training never calls this (law 6 of CCT-R). A mask is read here, after registration, and goes nowhere but into a Dice score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from datasets.dataset import Dataset, Volume
from datasets.registration import Candidate, Recipe, Registrations, vote_by_similarity, warp_image, warp_label
from datasets.registration.engine import frame_of
from datasets.registration.transform import Transform
from datasets.slices import tensor_of

STAGES = ["before", "after", "similarity", "vote", "oracle"]


@dataclass(frozen=True)
class Example:
    """One target slice for a picture, each (H, W): the image, the warped source image, and labels: true, centred, carried over."""

    title: str
    image: np.ndarray
    warped: np.ndarray
    truth: np.ndarray
    centred: np.ndarray
    carried: np.ndarray


@dataclass(frozen=True)
class Quality:
    """What was measured over all unlabelled training volumes that are targets.

    scores: a row per volume and class (columns volume, class, STAGES), Dice; NaN where a volume lacks the class and nothing found it.
        before: centred grids, mean over registered pairs; after: mean over accepted ones; similarity: the most similar source; vote: of
        accepted sources, weighted by similarity; oracle: the source whose label is best, which only the mask can tell.
    pairs: a row per registered pair (volume, source, before, after, folded, seconds, accepted, dice); before and after are similarities.
    dropped: pairs that did not go on after the search or the affine stage.
    """

    scores: pd.DataFrame
    pairs: pd.DataFrame
    dropped: int
    examples: list[Example]

    def table(self) -> pd.DataFrame:
        """Mean Dice by class and over classes: rows classes and "mean", columns STAGES."""
        by_class = self.scores.groupby("class", sort=False)[STAGES].mean()
        by_volume = self.scores.groupby("volume")[STAGES].mean().mean()
        return pd.concat([by_class, by_volume.to_frame("mean").T])


def measure(dataset: Dataset, volumes: tuple[Volume, ...], recipe: Recipe, folder: Path, device: str) -> Quality:
    """Quality of the registrations of ``volumes`` (the training volumes, labelled ones with their label), from the cache in ``folder``."""
    registrations = Registrations.load(volumes, recipe, folder, torch.device(device))
    scores, pairs, found = [], [], []
    dropped = 0
    for index, volume in enumerate(volumes):
        truth = None if volume.labelled else _truth(dataset, volume)
        if truth is None:
            continue
        kept, rejected = registrations.candidates[index], registrations.rejected[index]
        dropped += sum(v.labelled and v.case != volume.case for v in volumes) - len(kept) - len(rejected)
        labels = [_carried(candidate, volumes) for candidate in (*kept, *rejected)]
        each = [_dice(label, truth, dataset) for label in labels]
        for candidate, values in zip((*kept, *rejected), each, strict=True):
            pairs.append(_pair_row(volume, volumes[candidate.source], candidate, float(np.nanmean(values)), candidate in kept))
            found.append((float(np.nanmean(values)), index, candidate))
        columns = dict.fromkeys(STAGES, [float("nan")] * (len(dataset.classes) - 1))
        centred = [_dice(_centred(volumes[c.source], volume), truth, dataset) for c in (*kept, *rejected)]
        if centred:
            columns["before"] = np.mean(centred, 0).tolist()
        if kept:
            each = each[: len(kept)]
            voted, _ = vote_by_similarity(labels[: len(kept)], [candidate.similarity for candidate in kept])
            columns["after"], columns["oracle"] = np.mean(each, 0).tolist(), max(each, key=np.nanmean)
            columns["similarity"], columns["vote"] = each[0], _dice(voted, truth, dataset)
        for k, name in enumerate(dataset.classes[1:]):
            scores.append({"volume": volume.name, "class": name} | {stage: columns[stage][k] for stage in STAGES})
    found.sort(key=lambda entry: entry[0])
    chosen = {"best": -1, "median": len(found) // 2, "worst": 0}
    examples = [
        _example(dataset, volumes, *found[at][1:], f"{name} pair, Dice {found[at][0]:.2f}")
        for name, at in chosen.items()
        if found
    ]
    return Quality(pd.DataFrame(scores), pd.DataFrame(pairs), dropped, examples)


def _truth(dataset: Dataset, volume: Volume) -> Tensor | None:
    """The mask of a volume that trains without it; None where nobody drew one, and nothing can be measured."""
    (same,) = (v for v in dataset.read(volume.case, labels=True) if v.name == volume.name)
    return None if same.label is None else tensor_of(same.label)


def _carried(candidate: Candidate, volumes: tuple[Volume, ...]) -> Tensor:
    return warp_label(candidate.transform, tensor_of(volumes[candidate.source].label))


def _centred(source: Volume, target: Volume) -> Tensor:
    return warp_label(Transform(frame_of(source), frame_of(target), torch.eye(3, 4)), tensor_of(source.label))


def _dice(label: Tensor, truth: Tensor, dataset: Dataset) -> list[float]:
    """Dice of every foreground class."""
    values = []
    for k in range(1, len(dataset.classes)):
        a, b = label == k, truth == k
        total = int(a.sum() + b.sum())
        values.append(2 * int((a & b).sum()) / total if total else float("nan"))
    return values


def _pair_row(volume: Volume, source: Volume, candidate: Candidate, dice: float, accepted: bool) -> dict[str, object]:
    pair = candidate.pair
    return {
        "volume": volume.name,
        "source": source.name,
        "before": pair.before,
        "after": pair.after,
        "folded": pair.folded,
        "seconds": pair.seconds,
        "accepted": accepted,
        "dice": dice,
    }


def _example(dataset: Dataset, volumes: tuple[Volume, ...], index: int, candidate: Candidate, title: str) -> Example:
    volume, source = volumes[index], volumes[candidate.source]
    truth = _truth(dataset, volume)
    assert truth is not None  # it was measured
    plane = int((truth > 0).sum((1, 2)).argmax())
    return Example(
        f"{title}: {source.name} on {volume.name}, slice {plane + 1}",
        volume.image[0, plane],
        warp_image(candidate.transform, tensor_of(source.image[0]))[plane].numpy(),
        truth[plane].numpy(),
        _centred(source, volume)[plane].numpy(),
        _carried(candidate, volumes)[plane].numpy(),
    )
