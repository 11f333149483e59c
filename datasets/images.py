"""Pictures: PNG, TIFF, BMP or JPEG with masks of class numbers, paired by name; a case is a picture, or what a table says.

Folders ``images`` and ``masks``, or these two in ``train``, ``val`` and ``test``; or cases.csv with the columns case, image, label and
split, where the rows of a case are its slices in order. Grey values are scaled between percentiles of the case, colours from [0, 255].
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.classes import users_map
from datasets.dataset import Split, Volume
from datasets.description import about_files
from datasets.draws import split_by_name
from datasets.formats import values_of
from datasets.pairing import Pairs, pair_folders
from datasets.readers import check_image
from datasets.reading import Reading, Window
from datasets.survey import named
from datasets.tables import USES, read_table
from datasets.volumes import FileDataset, scaled

IMAGES = ("images", "image", "imgs", "img", "imagesTr")
MASKS = ("masks", "mask", "labels", "label", "annotations", "gt", "labelsTr")
COLOUR = (0.0, 255.0)
SPACING = (1.0, 1.0, 1.0)


@register("images")
class Images(FileDataset):
    """Pictures of your own; distances are in pixels. Classes are what classes.yaml or classes.txt say, else the values in the masks.

    path: the folder.

    Raises:
        BadInput: no path, no such layout; later, a file breaks a rule, or pictures of one case differ in size.
    """

    source = "name a folder with images and masks, or with cases.csv"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset images needs --data FOLDER; {self.source}")
        self.folder, self.use = path, {}
        self.about = about_files(path)
        parts = {use: two for use in USES if (two := _two_folders(path / use))}
        if (path / "cases.csv").is_file():
            table = read_table(path / "cases.csv", slices=True)
            self.files, self.use = table.files, table.use
        elif folders := _two_folders(path):
            self._take(pair_folders(*folders))
        elif "train" in parts and "test" in parts:
            for use, two in parts.items():
                self._take(pair_folders(*two), use)
        else:
            raise BadInput(
                f"{path} has neither cases.csv nor folders images and masks; expected one of them, or both in train and test; "
                "docs/data.md shows the layouts"
            )
        if given := users_map(path):
            self.labels = given
        if not self.split.train:
            raise BadInput(f"{path} has 0 labelled training cases; expected at least one; complete the folders or the table")

    def _take(self, pairs: Pairs, use: str = "") -> None:
        if both := sorted(getattr(self, "files", {}).keys() & pairs.sources.keys()):
            raise BadInput(f"{self.folder}: {both[0]} is in two folders; expected each picture in one; remove or rename one")
        blank = pairs.unlabelled if use in ("val", "test") else []
        sources = {case: {case: source} for case, source in pairs.sources.items() if case not in blank}
        self.files = getattr(self, "files", {}) | sources
        self.use |= {case: use for case in sources if use}
        self.told += pairs.told
        if pairs.unlabelled:
            end = "are not used" if blank else "train unlabelled"
            self.told.append(f"{named(pairs.unlabelled, len(pairs.sources), 'images')} have no mask and {end}")

    @cached_property
    def split(self) -> Split:
        """Cases by use, in the order of the table or of names; training cases without masks are ``unlabelled``."""
        blank = [case for case, rows in self.files.items() if any(source.label is None for source in rows.values())]
        labelled = [case for case in self.files if case not in blank]
        if wrong := [case for case in blank if self.use.get(case, "train") != "train"]:
            raise BadInput(
                f"{self.folder}: {wrong[0]} is in {self.use[wrong[0]]} and has no label; expected one; add it or let it train"
            )
        if not self.use:
            drawn = split_by_name("images", labelled)
            return Split(drawn.train, drawn.val, drawn.tests, tuple(blank))
        train, val, test = (tuple(case for case in labelled if self.use[case] == use) for use in USES)
        return Split(train, val, {"test": test}, tuple(blank))

    @property
    def has_test_set(self) -> bool:
        """Whether folders or the table name test cases."""
        return "test" in self.use.values()

    @cached_property
    def _window(self) -> Window:
        """Of all channels: where one file has three, they are colours."""
        first = next(iter(next(iter(self.files.values())).values()))
        return COLOUR if self.channels == 3 and len(first.images) == 1 else None

    @property
    def reading(self) -> Reading:
        """Pages as slices; a case of several pictures lies in no file of its own."""
        return super().reading.model_copy(update={"windows": (self._window,) * self.channels, "places": {}})

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's pictures as the slices of one volume; see ``Dataset.read``."""
        images, masks = [], []
        for source in self.files[case].values():
            channels = np.concatenate([check_image(path, values_of(path)[0]) for path in source.images])
            images.append(channels.transpose(0, 3, 2, 1))
            if images[-1].shape[0] != self.channels or images[-1].shape[2:] != images[0].shape[2:]:
                raise BadInput(
                    f"{source.images[0]} has {images[-1].shape[0]} channels of {images[-1].shape[2:]} pixels; expected {self.channels} of"
                    f" {images[0].shape[2:]}, as in the other pictures; convert it, or give its row another case"
                )
            if labels and source.label is not None:
                mask = self.labels.apply(source.label, values_of(source.label, mask=True)[0][0]).transpose(2, 1, 0)
                if mask.shape != images[-1].shape[1:]:
                    raise BadInput(
                        f"{source.label} has {mask.shape[1:]} pixels and {source.images[0]} {images[-1].shape[2:]}; expected one size;"
                        " export the mask again"
                    )
                masks.append(mask)
        image = np.concatenate(images, axis=1)
        label = np.ascontiguousarray(np.concatenate(masks)) if masks else None
        return (
            Volume(case, case, np.stack([scaled(part, self._window) for part in image]), label, SPACING, spacing_known=False),
        )


def _two_folders(home: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks in ``home``; None where one is missing."""
    images = next((home / name for name in IMAGES if os.path.isdir(home / name)), None)
    masks = next((home / name for name in MASKS if os.path.isdir(home / name)), None)
    return (images, masks) if images and masks else None
