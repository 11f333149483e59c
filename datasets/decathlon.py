"""Medical Segmentation Decathlon: any task, as downloaded; its labelled training cases split into training, validation and test.

Simpson et al., arXiv 1902.09063; Antonelli et al., Nature Communications 13:4128, 2022. The official test labels are not public, so 70 %
of the labelled cases train, 10 % validate and 20 % test, in an order that their names alone fix.
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.draws import split_by_name
from datasets.nifti import LUNG, SOFT_TISSUE, read_volume
from datasets.readers import hash_files, inside, read_text


@register("decathlon")
class Decathlon(Dataset):
    """A task folder with dataset.json. One volume a case; CT is windowed, other modalities are scaled between percentiles.

    Volumes are brought to the orientation nearest to RAS; slices are cut along the axis with the widest spacing, or from foot to head.

    path: the task's folder, e.g. Task04_Hippocampus.

    Raises:
        BadInput: no path, no such layout, or dataset.json lacks what is needed; later, a file breaks a rule.
    """

    spacing_known = True
    source = "name a task's folder, which holds dataset.json; `prepare --download` fetches e.g. --data Task04_Hippocampus (CC BY-SA 4.0)"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset decathlon needs --data FOLDER; {self.source}")
        self.folder = path
        about = _read_json(path / "dataset.json")
        try:
            numbers = sorted(int(number) for number in about["labels"])
            self.classes = tuple(str(about["labels"][str(number)]) for number in numbers)
            modalities = [str(about["modality"][str(channel)]) for channel in range(len(about["modality"]))]
            names = [(str(pair["image"]), str(pair["label"])) for pair in about["training"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(
                f"{path / 'dataset.json'} cannot be understood ({type(error).__name__}: {error}); expected the Decathlon's"
                " labels, modality and training; download it again"
            ) from None
        self.channels = len(modalities)
        window = LUNG if "lung" in str(about.get("name", "")).lower() else SOFT_TISSUE
        self.windows = tuple(window if modality.upper() == "CT" else None for modality in modalities)
        if numbers != list(range(len(numbers))) or len(names) < 4:
            raise BadInput(
                f"{path / 'dataset.json'} has labels {numbers} and {len(names)} training pairs; expected labels 0, 1, ... and"
                " at least 4 pairs; download it again"
            )
        listing = str(path / "dataset.json")
        pairs = [(inside(path, image, listing), inside(path, label, listing)) for image, label in names]
        self.files = {image.name.removesuffix(".gz").removesuffix(".nii"): (image, label) for image, label in pairs}
        if len(self.files) < len(pairs):
            raise BadInput(f"{path / 'dataset.json'} names a training case twice; expected each once; remove one")

    @classmethod
    def download(cls, path: Path) -> None:
        """Fetch the task that ``path`` is named after; nothing to do where it is there. Raises BadInput; see ``fetch_task``."""
        from datasets.download import fetch_task

        if not (path / "dataset.json").exists():
            fetch_task(path)

    @cached_property
    def split(self) -> Split:
        """Training, validation and test cases; the one test set is called ``test``."""
        return split_by_name("decathlon", self.files)

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's one volume; see ``Dataset.read``."""
        image, label = self.files[case]
        return (read_volume(case, case, image, label if labels else None, len(self.classes), self.windows),)

    def content_hash(self) -> str:
        """Hash of dataset.json and of every file that it names; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        return hash_files(self.folder, [self.folder / "dataset.json", *(f for pair in self.files.values() for f in pair)])


def _read_json(path: Path) -> dict:
    if not os.path.isdir(path.parent):
        raise BadInput(f"{path.parent} is not a folder; expected a Decathlon task; point --data to the folder of dataset.json")
    try:
        about = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not readable JSON ({error}); download it again") from None
    if not isinstance(about, dict):
        raise BadInput(f"{path} holds a {type(about).__name__}; expected the Decathlon's description; download it again")
    return about
