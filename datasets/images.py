"""Pictures: PNG, TIFF, BMP or JPEG with masks of class numbers, paired by name; a case is a picture, or what a table says.

Folders ``images`` and ``masks``, or these two in ``train``, ``val`` and ``test``; or cases.csv with the columns case, image, label and
split, where the rows of a case are its slices in order. Grey values are scaled between percentiles of the case, colours from [0, 255].
"""

from __future__ import annotations

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
from datasets.formats.pictures import check_palettes
from datasets.pairing import Pairs, pair_folders
from datasets.readers import check_image
from datasets.reading import Reading, Window
from datasets.survey import named
from datasets.tables import CALLED, USES, read_table
from datasets.volumes import FileDataset, scaled, too_few

IMAGES = ("images", "image", "imgs", "img", "imagestr")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "groundtruth", "gt", "labelstr")
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
        self.folder, self.use, self.files = path, {}, {}
        self.about = about_files(path)
        if (path / "cases.csv").is_file():
            table = read_table(path / "cases.csv", slices=True)
            self.files, self.use = table.files, table.use
        elif folders := _two_folders(path):
            self._take({"": pair_folders(*folders)})
        elif {"train", "test"} <= (parts := _parts(path)).keys():
            self._take({use: pair_folders(*two) for use, two in parts.items()})
        else:
            raise BadInput(
                f"{path} has neither cases.csv nor folders images and masks; expected one of them, or both in train and test; list the"
                " files in cases.csv (columns case, image, label, split), or see docs/data.md"
            )
        check_palettes(source.label for rows in self.files.values() for source in rows.values() if source.label)
        if given := users_map(path):
            self.labels = given
        if not self.split.train:
            raise too_few(path, self.split, self.told)

    def _take(self, pairs: dict[str, Pairs]) -> None:
        """Pairs by use; "" where none is stated. Where two uses have files of one name, cases are called after both."""
        names = [case for found in pairs.values() for case in found.sources]
        for use, found in pairs.items():
            blank = found.unlabelled if use in ("val", "test") else []
            for case, source in found.sources.items():
                if case not in blank:
                    called = case if len(set(names)) == len(names) else f"{use}_{case}"
                    self.files[called] = {called: source}
                    self.use |= {called: use} if use else {}
            self.told += found.told
            if found.unlabelled and (len(found.unlabelled) < len(found.sources) or blank):
                end = "are not used" if blank else "train unlabelled"
                of = f" of {use}" if use else ""
                self.told.append(f"{named(found.unlabelled, len(found.sources), 'images')}{of} have no mask and {end}")

    @cached_property
    def channels(self) -> int:  # type: ignore[override]
        """3 where a picture is in colour, 1 where all are grey; or the files of a case, where it has several."""
        first = next(iter(self.files[(self.split.train or self.split.unlabelled)[0]].values()))
        if len(first.images) > 1:
            return len(first.images)
        grey = [name for name, grid in self.grids.items() if grid.channels == 1]
        if grey and len(grey) < len(self.grids):
            self.told.append(
                f"{named(grey, len(self.grids), 'pictures')} are grey among coloured ones: read with equal red, green and blue"
            )
        return 1 if len(grey) == len(self.grids) else 3

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
        coloured = self.channels == 3 and len(next(iter(self.files[case].values())).images) == 1
        for source in self.files[case].values():
            channels = np.concatenate([check_image(path, values_of(path)[0]) for path in source.images])
            if coloured and channels.max() > COLOUR[1]:
                found = f"has intensities up to {channels.max():g}, and others are in colour"
                raise BadInput(f"{source.images[0]} {found}; expected 0 to 255; convert it to 8 bits")
            images.append((channels.repeat(3, 0) if coloured and len(channels) == 1 else channels).transpose(0, 3, 2, 1))
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
    there = _folders(home)
    images = next((there[name] for name in IMAGES if name in there), None)
    masks = next((there[name] for name in MASKS if name in there), None)
    return (images, masks) if images and masks else None


def _parts(home: Path) -> dict[str, tuple[Path, Path]]:
    """The two folders of each use, in the order of USES."""
    found = {CALLED[name]: two for name, path in _folders(home).items() if name in CALLED and (two := _two_folders(path))}
    return {use: found[use] for use in USES if use in found}


def _folders(home: Path) -> dict[str, Path]:
    """The folders in ``home`` by name, without capitals."""
    return {path.name.lower(): path for path in sorted(home.iterdir()) if path.is_dir()} if home.is_dir() else {}
