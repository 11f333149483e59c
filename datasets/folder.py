"""A folder of your own images: with a table cases.csv, a dataset.json, imagesTr and labelsTr alone, or a folder for each case.

cases.csv has the columns case, image, label and split (train, val or test), and may have frame; a case may have several rows (volumes).
Paths are relative to the folder; a training row without a label is an unlabelled volume. Without a table, images and labels are paired
by name and cases are split by their names: 20 % test, 10 % validation; images without a label train, unlabelled.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.classes import users_map
from datasets.dataset import Split
from datasets.description import DescribedDataset, about_files, channel_names, holds_images, unused_images
from datasets.draws import split_by_name
from datasets.formats import values_of
from datasets.pairing import Pairs, case_folders, pair_folders
from datasets.settings import Settings, read_settings, windows_of
from datasets.survey import named
from datasets.tables import USES, read_table
from datasets.volumes import PERCENTILES, Window, too_few

POOLED = 20_000
"""Voxels of a volume and channel that go into the percentiles of a dataset, evenly spread."""


@register("folder")
class Folder(DescribedDataset):
    """Images of your own: NIfTI, or what ``datasets.formats`` reads. Intensities are scaled between percentiles, or as dataset.yaml says.

    Classes are what classes.yaml, classes.txt or dataset.json say; else the values in the masks are classes in their order.

    path: the folder.

    Raises:
        BadInput: no path, none of the layouts, or the table breaks a rule; later, a file does.
    """

    source = "name a folder of your own with cases.csv, with imagesTr and labelsTr, or with a folder for each case"

    def describe(self, folder: Path) -> None:
        """Find the layout, and take from it what it says."""
        self.folder, self.use = folder, {}
        self.test: tuple[str, ...] = ()
        self.settings = read_settings(folder / "dataset.yaml")
        self.about = about_files(folder)
        if (folder / "cases.csv").is_file():
            table = read_table(folder / "cases.csv")
            self.files, self.use = table.files, table.use
            if table.modality and self.settings.windows is None:
                self.settings = Settings(windows_of(list(table.modality)), self.settings.pooled)
        elif (folder / "dataset.json").is_file():
            super().describe(folder)
        elif os.path.isdir(folder / "imagesTr"):
            self._pair(folder)
        elif os.path.isdir(folder) and (pairs := case_folders(folder)):
            self._take(pairs)
        else:
            raise BadInput(
                f"{folder} has neither cases.csv nor dataset.json, no folder imagesTr, and no folder for each case with images and a mask;"
                " expected one of them; `prepare --suggest` says what is there, docs/data.md shows the layouts"
            )
        if given := users_map(folder):
            self.labels = given
        for case, volumes in self.files.items():
            if any(source.label is None for source in volumes.values()) and self.use.get(case, "train") != "train":
                raise BadInput(
                    f"{folder / 'cases.csv'}: {case} is in {self.use[case]} and has no label; expected one; add it or let it train"
                )
        if not self.split.train:
            raise too_few(folder, self.split, self.told)
        if not hasattr(self, "published"):
            self.chosen_tests = bool(self.test) or "test" in self.use.values()
        stated = self.settings.for_channels(self.channels, folder / "dataset.yaml")
        self.windows = self._pooled() if self.settings.pooled and not stated else stated or self.windows

    def _pair(self, folder: Path) -> None:
        self._take(pair_folders(folder / "imagesTr", folder / "labelsTr"))
        if (folder / "imagesTs").is_dir() and (folder / "labelsTs").is_dir():
            tests = pair_folders(folder / "imagesTs", folder / "labelsTs")
            if both := sorted(self.files.keys() & tests.sources.keys()):
                raise BadInput(
                    f"{folder}: {both[0]} is in imagesTr and in imagesTs; expected each case in one; remove or rename one"
                )
            self.told += tests.told
            if tests.unlabelled:
                self.told.append(
                    f"{named(tests.unlabelled, len(tests.sources), 'images')} of imagesTs have no mask and are not used"
                )
            self.test = tuple(case for case, source in tests.sources.items() if source.label)
            self.files |= {case: {case: tests.sources[case]} for case in self.test}
        others = [path.name for path in folder.glob("images??") if path.name[-2:] not in ("Tr", "Ts")]
        others += ["imagesTs"] if not (folder / "labelsTs").is_dir() else []
        for name in others:
            if holds_images(folder / name):
                self.told.append(unused_images(name))

    def _take(self, pairs: Pairs) -> None:
        self.files = pairs.files()
        self.told += pairs.told
        self.layout = channel_names(pairs.channels)
        if pairs.unlabelled and len(pairs.unlabelled) < len(self.files):
            self.told.append(f"{named(pairs.unlabelled, len(self.files), 'images')} have no mask; they train unlabelled")

    @cached_property
    def split(self) -> Split:
        """Cases by use, in the order of the table; training cases without labels are ``unlabelled``."""
        if hasattr(self, "published"):
            return self.published
        blank = [case for case, volumes in self.files.items() if any(source.label is None for source in volumes.values())]
        labelled = [case for case in self.files if case not in blank]
        if not self.use:
            split = split_by_name("folder", [case for case in labelled if case not in self.test], self.test)
            return Split(split.train, split.val, split.tests, tuple(blank))
        train, val, test = (tuple(case for case in labelled if self.use[case] == use) for use in USES)
        return Split(train, val, {"test": test}, tuple(blank))

    def _pooled(self) -> tuple[Window, ...]:
        """The percentiles of all training volumes together, a window for each channel."""
        parts: list[list[np.ndarray]] = [[] for _ in range(self.channels)]
        for case in (*self.split.train, *self.split.unlabelled):
            for source in self.files[case].values():
                channels = [channel.ravel() for path in source.images for channel in values_of(path)[0]]
                for part, values in zip(parts, channels, strict=False):
                    part.append(values[:: max(1, len(values) // POOLED)])
        low, high = zip(*(np.percentile(np.concatenate(part), PERCENTILES) for part in parts), strict=True)
        return tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
