"""From scans to classes with the networks of finished cells: without the data that they were trained on, and a volume at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load, save
from scipy import ndimage
from torch import Tensor

from benchmark.cell.evaluation import SLICES_AT_ONCE, at_native_size, classes_of, probabilities
from benchmark.cell.experiment import build
from benchmark.ground import environment, registry
from benchmark.ground.errors import BadInput
from benchmark.records.identity import Cell
from datasets.dataset import Volume
from datasets.likeness import Ranges
from datasets.prepared import Prepared
from datasets.reading import Reading
from datasets.slices import SliceBank, resize_image
from methods.method import Method, Propagator

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
OF_TRAINING = "methods.registered"
"""Where modules stand whose state belongs to the training volumes: no prediction passes through them."""
EXTRA = "_extra_state"


class Knowledge(BaseModel):
    """All that predicting needs besides networks: classes, how files become volumes, and what training volumes looked like.

    spacing: (z, y, x) of volumes whose files store none. largest: the classes of which the largest component alone is kept, because it was
    better so on the validation cases; None where nothing validates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dataset: str
    classes: tuple[str, ...]
    channels: int
    spacing: tuple[float, float, float]
    reading: Reading
    seen: Ranges
    largest: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Segmentation:
    """Of a volume: classes (D, H, W) uint8; on request probabilities (D, H, W, K) float32, their entropy over its most and the share of
    networks that say another class than the mask, both (D, H, W) float32 in [0, 1]; disagreement is None where one network speaks.
    """

    label: np.ndarray
    probabilities: np.ndarray | None = None
    entropy: np.ndarray | None = None
    disagreement: np.ndarray | None = None


@dataclass(frozen=True)
class Predictor:
    """The methods of one or more cells, runs of one variant, whose reported networks speak together."""

    knowledge: Knowledge
    cells: tuple[Cell, ...]
    methods: tuple[Method | Propagator, ...]
    device: torch.device

    @property
    def propagates(self) -> bool:
        """Whether no network speaks, so that there are neither probabilities nor anything to average."""
        return isinstance(self.methods[0], Propagator)

    def segment(self, volume: Volume, flips: bool = False, maps: bool = False) -> Segmentation:
        """Classes of a volume on its native grid, as evaluation predicts them. flips: the mean over mirrored slices, too. maps: with
        probabilities, entropy and disagreement.
        """
        native = list(volume.image.shape[2:])
        first = self.methods[0]
        if isinstance(first, Propagator):
            return Segmentation(next(iter(first.segment(replace(volume, label=None)).values())).cpu().numpy())
        with torch.no_grad():
            return self._by_networks(volume, native, flips, maps)

    def _by_networks(self, volume: Volume, native: list[int], flips: bool, maps: bool) -> Segmentation:
        networks = [self._of(method, volume, flips, maps) for method in self.methods if isinstance(method, Method)]
        reported = torch.stack([own[0] for own in networks]).mean(0)
        label = classes_of(reported, native)
        if not maps:
            return Segmentation(label)
        full = torch.cat([part.cpu() for part in at_native_size(reported, native)]).movedim(1, -1).numpy()
        entropy = -(full * np.log(full.clip(1e-12))).sum(-1) / np.log(full.shape[-1])
        everyone = [network for own in networks for network in own]
        others = [classes_of(network, native) != label for network in everyone] if len(everyone) > 1 else []
        apart = np.stack(others).mean(0, dtype=np.float32) if others else None
        return Segmentation(label, full, entropy.astype(np.float32).clip(0, 1), apart)

    def _of(self, method: Method, volume: Volume, flips: bool, everyone: bool) -> list[Tensor]:
        """Probabilities (D, K, P, P) of a method's networks, the reported one first; of that alone unless everyone is asked."""
        found: dict[str, list[Tensor]] = {}
        for chunk in resize_image(volume, method.task.protocol.image_size).split(SLICES_AT_ONCE):
            views = FLIPS if flips else FLIPS[:1]
            seen = [probabilities(method, chunk.to(self.device).flip(view), not everyone) for view in views]
            for name in seen[0]:
                same = [own[name].flip(view) for own, view in zip(seen, views, strict=True)]
                found.setdefault(name, []).append(torch.stack(same).mean(0))
        return [torch.cat(parts) for name, parts in found.items() if name != "mean"]  # the mean of two is no network of its own


def knowledge_of(dataset: Prepared) -> Knowledge:
    """What a prepared dataset lets its networks know.

    Raises:
        BadInput: it does not say how files become volumes.
    """
    if dataset.reading is None:
        raise BadInput(
            f"{dataset.file} does not say how scans are read: it was prepared by an earlier version, or {dataset.name} has no `reading`;"
            f" delete it and run `prepare --dataset {dataset.name}` again with its --data and --store; its cells stay what they are"
        )
    reading = dataset.reading.model_copy(update={"places": {}})
    spacing = dataset.manifest.volumes[0].spacing
    return Knowledge(
        dataset=dataset.name,
        classes=dataset.classes,
        channels=dataset.channels,
        spacing=spacing,
        reading=reading,
        seen=dataset.manifest.seen,
    )


def networks_of(cell: Cell, knowledge: Knowledge, weights: bytes, device: torch.device) -> Method:
    """A trained method in evaluation mode, built on made-up slices: what belongs to training volumes is left out of its state.

    Raises:
        BadInput: the weights are not the method's as it is now, or it predicts from what belongs to training volumes.
    """
    sizes = (len(knowledge.classes), knowledge.channels)
    size = cell.protocol.image_size
    method = build(cell, SliceBank(_made_up(knowledge.channels, size), size, device), sizes, None)
    assert isinstance(method, Method)
    state, own = load(weights), method.state_dict()
    fits = {k: v for k, v in state.items() if k in own and (k.endswith(EXTRA) or v.shape == own[k].shape)}
    if wrong := sorted(k for k in state.keys() ^ own.keys() | (state.keys() - fits.keys()) if not _of_training(method, k)):
        raise BadInput(
            f"the weights of {cell.id} ({cell.variant}) do not fit the method as it is now ({wrong[0]}); expected those of this version;"
            " run the cell again"
        )
    method.load_state_dict(fits, strict=False)
    return method.eval()


def _of_training(method: Method, key: str) -> bool:
    try:
        return type(method.get_submodule(key.rpartition(".")[0])).__module__.startswith(OF_TRAINING)
    except AttributeError:
        return False


def weights_of(method: Method) -> bytes:
    """The state of a method that predictions may pass through, as safetensors: nothing of it belongs to a training volume."""
    return save({key: value.cpu().contiguous() for key, value in method.state_dict().items() if not _of_training(method, key)})


def propagator_of(cell: Cell, dataset: Prepared, device: torch.device, cache: Path) -> Propagator:
    """A method without training, on its labelled volumes alone, in the order that a cell has them. cache: of registrations."""
    volumes = [v for case in dataset.split.train if case in cell.labelled for v in dataset.on_demand(case, labels=True)]
    bank = SliceBank(volumes, cell.protocol.image_size, device)
    method = build(cell, bank, (len(dataset.classes), dataset.channels), cache)
    assert isinstance(method, Propagator)
    return method


def is_propagator(cell: Cell) -> bool:
    """Whether the cell's method has no training."""
    return issubclass(registry.load("methods", cell.method), Propagator)


def ready(device: str) -> torch.device:
    """The device, set up as cells are evaluated on it."""
    environment.make_deterministic()
    return torch.device(device)


def _made_up(channels: int, pixels: int) -> list[Volume]:
    """A labelled and an unlabelled volume of one empty slice: a bank for methods that will not be trained."""
    image, label = np.zeros((channels, 1, pixels, pixels), np.float32), np.zeros((1, pixels, pixels), np.uint8)
    return [Volume(name, name, image, mask, (1.0, 1.0, 1.0)) for name, mask in (("labelled", label), ("unlabelled", None))]


def largest_component(label: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """Classes (D, H, W) with, of each of ``classes``, the largest connected component alone (faces touch); the rest is background."""
    label = label.copy()
    for number in classes:
        parts, count = ndimage.label(label == number)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            label[(parts > 0) & (parts != 1 + sizes[1:].argmax())] = 0
    return label


def helped_by_largest(predictor: Predictor, volumes: Sequence[Volume]) -> tuple[int, ...]:
    """The foreground classes whose mean DSC on labelled volumes rises when their largest component alone is kept."""
    gains = np.zeros(len(predictor.knowledge.classes))
    for volume in volumes:
        assert volume.label is not None
        found = predictor.segment(volume).label
        kept = largest_component(found, range(1, len(gains)))
        for number in range(1, len(gains)):
            truth = volume.label == number
            gains[number] += _dice(kept == number, truth) - _dice(found == number, truth)
    return tuple(int(k) for k in np.flatnonzero(gains > 1e-9))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0
