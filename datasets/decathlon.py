"""Medical Segmentation Decathlon: any task, as downloaded; its labelled training cases split into training, validation and test.

Simpson et al., arXiv 1902.09063; Antonelli et al., Nature Communications 13:4128, 2022. The official test labels are not public, so 70 %
of the labelled cases train, 10 % validate and 20 % test, in an order that their names alone fix.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.errors import BadInput
from benchmark.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.readers import check_file, check_image, check_label, hash_files, read_nifti

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
PERCENTILES = (0.5, 99.5)


@register("decathlon")
class Decathlon(Dataset):
    """A task folder with dataset.json. One volume a case; intensities of each channel to [0, 1] between percentiles .5 and 99.5.

    Volumes are brought to the orientation nearest to RAS; slices are cut along the axis with the widest spacing, or from foot to head.

    path: the task's folder, e.g. Task04_Hippocampus.

    Raises:
        BadInput: no path, no such layout, or dataset.json lacks what is needed; later, a file breaks a rule.
    """

    spacing_known = True

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput("dataset decathlon needs --data FOLDER; name a task's folder, which holds dataset.json")
        self.folder = path
        about = _read_json(path / "dataset.json")
        try:
            numbers = sorted(int(number) for number in about["labels"])
            self.classes = tuple(str(about["labels"][str(number)]) for number in numbers)
            self.channels = len(about["modality"])
            pairs = [(path / pair["image"], path / pair["label"]) for pair in about["training"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(
                f"{path / 'dataset.json'} cannot be understood ({type(error).__name__}: {error}); expected the Decathlon's"
                " labels, modality and training; download it again"
            ) from None
        if numbers != list(range(len(numbers))) or len(pairs) < 4:
            raise BadInput(
                f"{path / 'dataset.json'} has labels {numbers} and {len(pairs)} training pairs; expected labels 0, 1, ... and"
                " at least 4 pairs; download it again"
            )
        self.files = {image.name.removesuffix(".gz").removesuffix(".nii"): (image, label) for image, label in pairs}
        if len(self.files) < len(pairs):
            raise BadInput(f"{path / 'dataset.json'} names a training case twice; expected each once; remove one")

    @cached_property
    def split(self) -> Split:
        """Training, validation and test cases; the one test set is called ``test``."""
        order = sorted(self.files, key=lambda case: hashlib.sha256(f"decathlon/{case}".encode()).digest())
        test, val = (max(1, round(share * len(order))) for share in (TEST_SHARE, VALIDATION_SHARE))
        return Split(tuple(order[test + val :]), tuple(order[test : test + val]), {"test": tuple(order[:test])})

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's one volume; see ``Dataset.read``."""
        path, mask = self.files[case]
        image, spacing = read_nifti(path, channels=self.channels)
        axis = int(np.argmax(spacing)) if max(spacing) > 1.01 * min(spacing) else 2
        axes = (axis, *(i for i in (1, 0, 2) if i != axis))
        label = None
        if labels:
            found, _ = read_nifti(mask, like=path)
            label = np.ascontiguousarray(check_label(mask, found[0], len(self.classes)).transpose(axes))
        image = np.stack([_normalised(channel.transpose(axes)) for channel in check_image(path, image)])
        z, y, x = (spacing[i] for i in axes)
        return (Volume(case, case, image, label, (z, y, x)),)

    def content_hash(self) -> str:
        """Hash of dataset.json and of every file that it names; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        return hash_files(self.folder, [self.folder / "dataset.json", *(f for pair in self.files.values() for f in pair)])


def _normalised(channel: np.ndarray) -> np.ndarray:
    low, high = np.percentile(channel, PERCENTILES)
    return ((channel - low) / max(float(high - low), 1e-6)).clip(0, 1).astype(np.float32)


def _read_json(path: Path) -> dict:
    if not os.path.isdir(path.parent):
        raise BadInput(f"{path.parent} is not a folder; expected a Decathlon task; point --data to the folder of dataset.json")
    check_file(path)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not readable JSON ({error}); download it again") from None
    if not isinstance(about, dict):
        raise BadInput(f"{path} holds a {type(about).__name__}; expected the Decathlon's description; download it again")
    return about
