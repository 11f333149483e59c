"""The training loop that the field copies from script to script, written from its description: a fixture to compare with.

One h5 file a slice, opened for each sample; rotation and zoom by SciPy on native slices; DataLoader workers, which start anew every
epoch; two streams of samples; EMA parameter by parameter; several ``.item()`` a step; weights in torch's default memory layout.
Architecture, losses, batch and steps are ours.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from datasets.dataset import Volume
from methods.method import Step
from methods.networks.network import Network
from methods.parts.losses import supervised_loss


def write_slices(volumes: list[Volume], folder: Path) -> list[Path]:
    """A file a slice, as SSL4MIS lays them out; the paths in order."""
    paths = []
    for volume in volumes:
        for plane in range(volume.image.shape[1]):
            paths.append(folder / f"{volume.name}_slice_{plane + 1}.h5")
            label = np.zeros(volume.image.shape[2:], np.uint8) if volume.label is None else volume.label[plane]
            with h5py.File(paths[-1], "w") as file:
                file.create_dataset("image", data=volume.image[0, plane], compression="gzip")
                file.create_dataset("label", data=label, compression="gzip")
    return paths


class SliceFiles(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Opens, turns and zooms a slice when it is asked for."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        with h5py.File(self.paths[index], "r") as file:
            image, label = file["image"][:], file["label"][:]
        if random.random() > 0.5:
            turns, axis = np.random.randint(0, 4), np.random.randint(0, 2)
            image, label = (np.flip(np.rot90(array, turns), axis).copy() for array in (image, label))
        else:
            angle = np.random.randint(-20, 20)
            image, label = (ndimage.rotate(array, angle, order=0, reshape=False) for array in (image, label))
        zoom = (self.size / image.shape[0], self.size / image.shape[1])
        image, label = (ndimage.zoom(array, zoom, order=0) for array in (image, label))
        return torch.from_numpy(image.astype(np.float32))[None], torch.from_numpy(label.astype(np.uint8))


class TwoStreams(Sampler[list[int]]):
    """An epoch goes through the labelled slices once; unlabelled ones are added from an endless stream."""

    def __init__(self, labelled: list[int], unlabelled: list[int], batch: tuple[int, int]) -> None:
        self.labelled, self.unlabelled, self.batch = labelled, unlabelled, batch

    def __len__(self) -> int:
        return len(self.labelled) // self.batch[0]

    def __iter__(self) -> Iterator[list[int]]:
        labelled = np.random.permutation(self.labelled).tolist()
        endless = (i for _ in iter(int, 1) for i in np.random.permutation(self.unlabelled).tolist())
        for start in range(len(self)):
            first = labelled[start * self.batch[0] : (start + 1) * self.batch[0]]
            yield first + [next(endless) for _ in range(self.batch[1])]


def mean_teacher(
    student: Network, files: SliceFiles, streams: TwoStreams, workers: int, steps: int, learning_rate: float = 0.01
) -> list[dict[str, float]]:
    """Train for ``steps`` with a mean teacher; what was logged, a row a step."""
    student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    loader = DataLoader(files, batch_sampler=streams, num_workers=workers, worker_init_fn=lambda number: random.seed(number))
    teacher = copy.deepcopy(student)
    for parameter in teacher.parameters():
        parameter.detach_()
    student.train()
    optimiser = torch.optim.SGD(student.parameters(), lr=learning_rate, momentum=0.9, weight_decay=1e-4)
    logged: list[dict[str, float]] = []
    while len(logged) < steps:
        for image, label in loader:
            labelled = streams.batch[0]
            unlabelled = image[labelled:]
            noise = torch.clamp(torch.randn_like(unlabelled) * 0.1, -0.2, 0.2)
            logits = student(image)
            soft = torch.softmax(logits, 1)
            with torch.no_grad():
                target = torch.softmax(teacher(unlabelled + noise), 1)
            supervised = supervised_loss(logits[:labelled], label[:labelled].long())
            consistency = F.mse_loss(soft[labelled:], target)
            step = Step(len(logged), steps)
            loss = supervised + 0.1 * step.ramp * consistency
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            alpha = min(1 - 1 / (step.index + 1), 0.99)
            for ours, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
                ours.data.mul_(alpha).add_(theirs.data, alpha=1 - alpha)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 - step.fraction) ** 0.9
            logged.append({"loss": loss.item(), "supervised": supervised.item(), "consistency": consistency.item()})
            if len(logged) == steps:
                break
    return logged
