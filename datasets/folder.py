"""A folder of your own NIfTI files: with a table cases.csv, or as imagesTr and labelsTr alone.

cases.csv has the columns case, image, label and split (train, val or test), and may have frame; a case may have several rows (volumes).
Paths are relative to the folder; a training row without a label is an unlabelled volume. Without a table, images and labels are paired
by name and cases are split by their names: 20 % test, 10 % validation; images without a label train, unlabelled.
"""

from __future__ import annotations

import csv
import os
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.draws import split_by_name
from datasets.nifti import count_channels, read_nifti, read_volume
from datasets.readers import hash_files, inside, read_names, read_text

COLUMNS = ("case", "image", "label", "split")
USES = ("train", "val", "test")
MAX_LINE = 10_000

Files = dict[str, dict[str, tuple[Path, Path | None]]]
"""case -> volume -> image and label."""


@register("folder")
class Folder(Dataset):
    """NIfTI files of your own. Intensities are scaled between percentiles; the orientation nearest to RAS, slices along the thick axis.

    Class names are the lines of classes.txt (background first) where there is one; else classes are numbered up to the highest
    label found.

    path: the folder.

    Raises:
        BadInput: no path, neither cases.csv nor imagesTr, or the table breaks a rule; later, a file does.
    """

    spacing_known = True
    source = "name a folder of your own with cases.csv, or with imagesTr and labelsTr"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset folder needs --data FOLDER; {self.source}")
        self.folder = path
        table = path / "cases.csv"
        if table.is_file():
            self.files, self.use = _read_table(table)
        elif os.path.isdir(path / "imagesTr"):
            self.files, self.use = _pair(path), {}
        else:
            raise BadInput(
                f"{path} has neither cases.csv nor a folder imagesTr; expected one of them; see the README's data formats"
            )
        for case, volumes in self.files.items():
            for _, (_, label) in volumes.items():
                if label is None and self.use.get(case, "train") != "train":
                    raise BadInput(
                        f"{table}: {case} is in {self.use[case]} and has no label; expected one; add it or let it train"
                    )
        if not self.split.train or not self.split.tests["test"]:
            found = f"{len(self.split.train)} labelled training and {len(self.split.tests['test'])} test cases"
            raise BadInput(f"{path} has {found}; expected at least one of each; complete the table or the folders")
        self.channels = count_channels(next(iter(self.files[self.split.train[0]].values()))[0])

    @cached_property
    def split(self) -> Split:
        """Cases by use, in the order of the table; training cases without labels are ``unlabelled``."""
        blank = [case for case, volumes in self.files.items() if any(label is None for _, label in volumes.values())]
        labelled = [case for case in self.files if case not in blank]
        if not self.use:
            split = split_by_name("folder", labelled)
            return Split(split.train, split.val, split.tests, tuple(blank))
        train, val, test = (tuple(case for case in labelled if self.use[case] == use) for use in USES)
        return Split(train, val, {"test": test}, tuple(blank))

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes; see above."""
        names = self.folder / "classes.txt"
        if names.is_file():
            return tuple(read_names(names))
        labels = [label for volumes in self.files.values() for _, label in volumes.values() if label is not None]
        highest = max(int(np.max(read_nifti(label)[0])) for label in labels)
        if not 1 <= highest < 255:
            raise BadInput(f"{self.folder}: labels go up to {highest}; expected classes 0, 1, ... below 255; check the labels")
        return ("background", *(f"class {k}" for k in range(1, highest + 1)))

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's volumes; see ``Dataset.read``."""
        windows = (None,) * self.channels
        return tuple(
            read_volume(name, case, image, label if labels else None, len(self.classes), windows)
            for name, (image, label) in self.files[case].items()
        )

    def content_hash(self) -> str:
        """Hash of the table, the class names and every file that they name; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        paths = [p for volumes in self.files.values() for pair in volumes.values() for p in pair if p is not None]
        about = [self.folder / name for name in ("cases.csv", "classes.txt") if (self.folder / name).is_file()]
        return hash_files(self.folder, {*about, *paths})


def _read_table(table: Path) -> tuple[Files, dict[str, str]]:
    rows = csv.DictReader(_lines(table))
    if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
        raise BadInput(f"{table} has no column {missing[0]}; expected {', '.join(COLUMNS)}, and frame if you like")
    files: Files = {}
    use: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        case, where = (row["case"] or "").strip(), f"{table}, line {number}"
        if not case or not row["image"] or row["split"] not in USES:
            raise BadInput(f"{where}: found {dict(row)}; expected a case, an image and train, val or test as split; correct it")
        if use.setdefault(case, row["split"]) != row["split"]:
            raise BadInput(
                f"{where}: {case} is in {use[case]} and in {row['split']}; expected each case in one split; correct it"
            )
        volume = f"{case}_{frame}" if (frame := (row.get("frame") or "").strip()) else case
        if volume in files.setdefault(case, {}):
            raise BadInput(f"{where}: {volume} comes twice; expected each volume once; give its rows different frames")
        files[case][volume] = (
            inside(table.parent, row["image"], where),
            inside(table.parent, row["label"], where) if row["label"] else None,
        )
    if not files:
        raise BadInput(f"{table} has no rows; expected a row for each volume")
    return files, use


def _lines(table: Path) -> list[str]:
    """Lines that the csv module cannot choke on."""
    lines = read_text(table).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if "\0" in line or len(line) > MAX_LINE:
            raise BadInput(
                f"{table}, line {number} has a NUL or more than {MAX_LINE} characters; expected text; save the table again"
            )
    return lines


def _pair(folder: Path) -> Files:
    """Images of imagesTr with the labels of labelsTr that have the same name."""
    files: Files = {}
    for image in sorted((folder / "imagesTr").iterdir()):
        if image.name.startswith(".") or not image.name.endswith((".nii", ".nii.gz")):
            continue
        case = image.name.removesuffix(".gz").removesuffix(".nii")
        label = folder / "labelsTr" / image.name
        if case in files:
            raise BadInput(f"{folder / 'imagesTr'}: {case} is there as .nii and as .nii.gz; expected one; remove the other")
        files[case] = {case: (image, label if label.is_file() else None)}
    return files
