"""dataset.json: the Decathlon's, MONAI's lists, nnU-Net raw v1 (files case_0000, named without) and v2 (channel_names, labels by name)."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from datasets.classes import FILES as CLASS_FILES
from datasets.classes import LabelMap, stated_map, users_map
from datasets.dataset import Split
from datasets.draws import split_by_name
from datasets.formats import ending_of, stem_of
from datasets.formats.pictures import check_palettes
from datasets.pairing import pair_folders
from datasets.readers import inside, read_text
from datasets.survey import named
from datasets.volumes import LUNG, SOFT_TISSUE, FileDataset, Source, Window

SALT = "decathlon"
"""What orders the names of a split, in every layout of a dataset.json: the same cases, the same split."""

LICENCE = 500
"""Letters of what is said of a licence."""


@dataclass
class Description:
    """labels, names of the channels and windows (None: not stated) of a dataset; its cases by list, in order; what people should know."""

    labels: LabelMap
    windows: tuple[Window, ...] | None
    training: dict[str, Source] = field(default_factory=dict)
    validation: dict[str, Source] = field(default_factory=dict)
    test: dict[str, Source] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    licence: str = ""

    @property
    def sources(self) -> dict[str, Source]:
        """All cases."""
        return self.training | self.validation | self.test

    def split(self) -> Split:
        """The published split, as far as there is one; what it lacks comes from the training cases, by name."""
        train = [case for case, source in self.training.items() if source.label]
        blank = tuple(case for case, source in self.training.items() if not source.label)
        if self.test and self.validation:
            return Split(tuple(train), tuple(self.validation), {"test": tuple(self.test)}, blank)
        if self.validation:
            return Split(tuple(train), (), {"test": tuple(self.validation)}, blank)
        drawn = split_by_name(SALT, train, tuple(self.test))
        return Split(drawn.train, drawn.val, drawn.tests, blank)


class DescribedDataset(FileDataset):
    """A folder with dataset.json. One volume a case; CT is windowed, other modalities are scaled between percentiles.

    Raises:
        BadInput: no path, no such layout, or dataset.json lacks what is needed; later, a file breaks a rule.
    """

    chosen_tests = True

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset {self.name} needs --data FOLDER; {self.source}")
        self.describe(path)
        check_palettes(source.label for volumes in self.files.values() for source in volumes.values() if source.label)

    def describe(self, folder: Path) -> None:
        """Take cases, classes, windows and split from the folder's dataset.json; ``classes.yaml`` goes before its labels."""
        self.folder = folder
        found = described(folder)
        self.labels = users_map(folder) or found.labels
        self.windows = found.windows
        self.files = {case: {case: source} for case, source in found.sources.items()}
        self.published = found.split()
        self.about = about_files(folder)
        self.told += found.told
        self.layout = channel_names(found.channels)
        self.licence = found.licence or self.licence
        self.chosen_tests = bool(found.test or found.validation)

    @property
    def has_test_set(self) -> bool:
        """Whether dataset.json or folders name test cases."""
        return self.chosen_tests

    @property
    def split(self) -> Split:
        """Training, validation and test cases; the one test set is called ``test``."""
        return self.published


def channel_names(names: Sequence[str]) -> tuple[str, ...]:
    """The line that shows them; none where there is one channel."""
    return (f"channels: {', '.join(names)}",) if len(names) > 1 else ()


def about_files(folder: Path) -> tuple[Path, ...]:
    """Files of a folder that say what its images are."""
    return tuple(
        folder / name for name in ("dataset.json", "dataset.yaml", "cases.csv", *CLASS_FILES) if (folder / name).is_file()
    )


def described(folder: Path) -> Description:
    """What ``dataset.json`` of the folder says, and the cases that it names or, for nnU-Net v2, that lie beside it.

    Raises:
        BadInput: it cannot be understood, names files that are not there, or a case twice; regions of nnU-Net overlap.
    """
    path = folder / "dataset.json"
    about = _read_json(path)
    if "labels" not in about:
        raise BadInput(f"{path} has no labels; expected the classes, as {{'background': 0, 'liver': 1}}; add them")
    try:
        stated = about["labels"]
        labels = stated_map(dict(enumerate(map(str, stated))) if isinstance(stated, list) else stated, str(path))
        modalities = _modalities(about.get("channel_names", about.get("modality")))
        listed = {use: list(about.get(use) or []) for use in ("training", "validation", "test", "testing")}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path} cannot be understood ({type(error).__name__}: {error}); expected labels (name: value), modality or channel_names"
            " (number: name) and lists of cases, as the Decathlon and nnU-Net have them; correct or download it again"
        ) from None
    lung = "lung" in str(about.get("name", "")).lower()
    windows = tuple((LUNG if lung else SOFT_TISSUE) if m.upper() == "CT" else None for m in modalities) if modalities else None
    licence = " ".join(str(about.get("licence") or about.get("license") or "").split())[:LICENCE]
    found = Description(labels, windows, channels=tuple(modalities), licence=licence)
    if not modalities:
        found.told.append("dataset.json states no modality: intensities of all channels are scaled between percentiles")
    if listed["training"]:
        found.training = _listed(folder, listed["training"])
        if blank := [case for case, source in found.training.items() if source.label is None]:
            found.told.append(f"{named(blank, len(found.training), 'training cases')} have no label; they train unlabelled")
        found.validation = _labelled(folder, listed["validation"], "validation", found.told)
        found.test = _labelled(folder, [*listed["test"], *listed["testing"]], "test", found.told)
        _tell_of_strangers(folder, found)
    else:
        _beside(folder, found, about, len(modalities) or None)
    if not found.test:
        _test_folder(folder, found, len(modalities) or None)
    for one, other in ((found.training, found.test), (found.training, found.validation), (found.validation, found.test)):
        if both := sorted(one.keys() & other.keys()):
            raise BadInput(f"{path}: {both[0]} is in two lists or folders; expected each case in one; remove or rename one")
    if found.validation and not found.test:
        found.told.append(
            f"dataset.json names {len(found.validation)} validation cases and no labelled test cases: they are the test set, and"
            " nothing validates"
        )
    few = 1 if found.test or found.validation else 4
    if (pairs := sum(source.label is not None for source in found.training.values())) < few:
        why = f" ({'; '.join(found.told)})" if found.told else ""
        raise BadInput(
            f"{path} has {pairs} training cases with a mask{why}; expected at least {few}; complete the dataset or correct the list"
        )
    return found


def _modalities(stated: Any) -> list[str]:
    if stated is None:
        return []
    if isinstance(stated, dict):
        return [str(stated[key]) for key in sorted(stated, key=int)]
    return [str(name) for name in stated] if isinstance(stated, list) else [str(stated)]


def _labelled(folder: Path, entries: list[Any], use: str, told: list[str]) -> dict[str, Source]:
    """The cases of a list that have a label; entries without one, as in published test lists, are not used."""
    pairs = [entry for entry in entries if isinstance(entry, dict) and entry.get("label")]
    if pairs and len(pairs) < len(entries):
        told.append(f"{len(entries) - len(pairs)} of {len(entries)} {use} cases of dataset.json have no label and are not used")
    return _listed(folder, pairs)


def _listed(folder: Path, entries: list[Any]) -> dict[str, Source]:
    """The cases of a list; one is called after its image, or after the folder where files of all cases have one name."""
    listing = str(folder / "dataset.json")
    found: list[Source] = []
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("image"):
            raise BadInput(
                f"{listing} has the entry {str(entry)[:80]}; expected {{'image': file, 'label': file}}; correct the list"
            )
        images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        if len(images) == 1:
            files = _files_of(folder, str(images[0]), listing)
        else:
            files = [inside(folder, str(image), listing) for image in images]
        found.append(Source(tuple(files), inside(folder, str(entry["label"]), listing) if entry.get("label") else None))
    names = [stem_of(source.images[0].name) for source in found]
    names = [name.removesuffix("_0000") if _is_channel(source) else name for name, source in zip(names, found, strict=True)]
    homes = [source.images[0].parent.name for source in found]
    if len(set(names)) < len(names) and len(set(homes)) == len(homes):
        names = homes
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadInput(f"{listing} names {twice} twice in a list; expected each case once; remove one")
    return dict(zip(names, found, strict=True))


def _is_channel(source: Source) -> bool:
    """Whether nnU-Net's number of a channel ends the image's name, and not the mask's."""
    return source.label is not None and stem_of(source.images[0].name).removesuffix("_0000") == stem_of(source.label.name)


def _files_of(folder: Path, image: str, listing: str) -> list[Path]:
    """The file that a list calls ``image``, or nnU-Net's files of its channels, called so with _0000 and so on."""
    name = Path(image.strip())
    parent, ending = folder / name.parent, ending_of(name.name)
    if not (folder / name).exists() and os.path.isdir(parent):
        stem = stem_of(name.name)
        channels = sorted(parent.glob(f"{glob.escape(stem)}_[0-9][0-9][0-9][0-9]{ending}"))
        if channels:
            return [inside(folder, str(name.parent / file.name), listing) for file in channels]
    return [inside(folder, image, listing)]


def _tell_of_strangers(folder: Path, found: Description) -> None:
    """Images in imagesTr that no list names."""
    known = {path for source in found.sources.values() for path in source.images}
    home = folder / "imagesTr"
    if os.path.isdir(home):
        there = [p for p in sorted(home.iterdir()) if p.is_file() and ending_of(p.name) and not p.name.startswith(".")]
        masks = {source.label for source in found.sources.values()}
        stray = [p.name for p in there if p not in known and p not in masks]
        if stray:
            found.told.append(
                f"{named(stray, len(there), 'files')} of imagesTr stand in no list of dataset.json and are not used"
            )


def _beside(folder: Path, found: Description, about: dict[str, Any], channels: int | None) -> None:
    """nnU-Net v2: cases are the files of imagesTr and labelsTr, or what ``dataset`` lists."""
    if isinstance(about.get("dataset"), dict):
        entries = [{"image": entry.get("images"), "label": entry.get("label")} for entry in about["dataset"].values()]
        found.training = dict(zip(about["dataset"], _listed(folder, entries).values(), strict=True))
        return
    if not os.path.isdir(folder / "imagesTr"):
        raise BadInput(
            f"{folder / 'dataset.json'} lists no training cases and {folder / 'imagesTr'} is no folder; expected one; complete it"
        )
    pairs = pair_folders(folder / "imagesTr", folder / "labelsTr", channels)
    found.training, told = pairs.sources, pairs.told
    if pairs.unlabelled:
        told.append(f"{named(pairs.unlabelled, len(pairs.sources), 'images')} of imagesTr have no mask; they train unlabelled")
    found.told += told


def _test_folder(folder: Path, found: Description, channels: int | None) -> None:
    """imagesTs with the masks of labelsTs, or told that it is not used."""
    if not holds_images(folder / "imagesTs"):
        return
    if not os.path.isdir(folder / "labelsTs"):
        found.told.append(unused_images("imagesTs"))
        return
    one = len(next(iter(found.training.values())).images) if found.training else None
    pairs = pair_folders(folder / "imagesTs", folder / "labelsTs", channels if one and one > 1 else None)
    found.test = {case: source for case, source in pairs.sources.items() if source.label}
    found.told += pairs.told
    if pairs.unlabelled:
        found.told.append(f"{named(pairs.unlabelled, len(pairs.sources), 'images')} of imagesTs have no mask and are not used")


def holds_images(folder: Path) -> bool:
    """Whether it is a folder with an image in it."""
    return folder.is_dir() and any(ending_of(path.name) and not path.name.startswith(".") for path in folder.iterdir())


def unused_images(name: str) -> str:
    """What is told of a folder of images without masks."""
    if name != "imagesTs":
        return f"{name} is not used; expected images in imagesTr and imagesTs; name its cases in cases.csv to use them"
    return "imagesTs has no labelsTs beside it: its images are not used; put the masks there to test on them"


def _read_json(path: Path) -> dict[str, Any]:
    if not os.path.isdir(path.parent):
        raise BadInput(
            f"{path.parent} is not a folder; expected one with dataset.json; point --data to the folder of dataset.json"
        )
    try:
        about = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not readable JSON ({error}); correct or download it again") from None
    if not isinstance(about, dict):
        raise BadInput(f"{path} holds a {type(about).__name__}; expected the description of a dataset; download it again")
    return about
