"""Synapse: abdominal CT of 30 patients (BTCV, Landman et al. 2015), 8 organs, in the layout of TransUNet.

Chen et al., arXiv 2102.04306; github.com/Beckschen/TransUNet. Training slices are ``train_npz/caseXXXX_sliceYYY.npz`` with Y from 0,
test volumes ``test_vol_h5/caseXXXX.npy.h5`` (or ``.h5``); intensities are clipped to [-125, 275] HU and scaled to [0, 1] already.
"""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.readers import count_values, hash_files, read_h5, read_npz
from datasets.reading import Reading
from datasets.survey import named

SLICE_NAME = re.compile(r"(?P<case>case[0-9]{4})_slice(?P<number>[0-9]{3})\.npz")
VOLUME_NAME = re.compile(r"(?P<case>case[0-9]{4})(?:\.npy)?\.h5")
CANONICAL = tuple(f"case{n:04}" for n in (31, 7, 9, 5, 26, 39, 24, 34, 33, 30, 23, 40, 10, 21, 6, 27, 28, 37))
"""Training cases in the order of TransUNet's list."""

SPACING = (3.0, 1.0, 1.0)
LIVER, BTCV_GALLBLADDER = 5, 4
"""Class 5 is the liver in both orders in use; class 4 is the gallbladder where BTCV's numbers were kept."""


@register("synapse")
class Synapse(Dataset):
    """Synapse in the TransUNet layout. No validation cases; the layout stores no spacing, so that distances are in voxels.

    path: the folder of train_npz and test_vol_h5.

    Raises:
        BadInput: no path, no such layout, or a training case lacks a slice; later, a file breaks a rule.
    """

    classes = (
        *("background", "aorta", "gallbladder", "left kidney", "right kidney"),
        *("liver", "pancreas", "spleen", "stomach"),
    )
    channels = 1
    spacing_known = False
    facts = ("slices as the files hold them, spacing not stored",)
    source = (
        "register at synapse.org (project syn3193805), prepare the data as github.com/Beckschen/TransUNet says, and name the folder"
        " that holds train_npz and test_vol_h5"
    )

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset synapse needs --data FOLDER; {self.source}")
        for folder in ("train_npz", "test_vol_h5"):
            if not os.path.isdir(path / folder):
                raise BadInput(f"{path} has no folder {folder}; expected Synapse in the TransUNet layout; point --data to it")
        self.folder = path
        self.slices = self._slices()
        self.sizes: dict[str, np.ndarray] = {}
        tests: dict[str, Path] = {}
        for file in sorted((path / "test_vol_h5").iterdir()):
            if (match := VOLUME_NAME.fullmatch(file.name)) and match["case"] in tests:
                raise BadInput(f"{file} and {tests[match['case']].name} are one case; expected a file for each; remove one")
            if match:
                tests[match["case"]] = file
        if not self.slices or not tests:
            found = f"{len(self.slices)} training and {len(tests)} test cases"
            raise BadInput(f"{path} holds {found}; expected caseXXXX_sliceYYY.npz and caseXXXX.npy.h5; complete the dataset")
        if both := sorted(self.slices.keys() & tests.keys()):
            raise BadInput(
                f"{path}: {both[0]} is in train_npz and in test_vol_h5; expected each case in one; remove it from one"
            )
        self.tests = tests

    def _slices(self) -> dict[str, list[Path]]:
        """Each training case's files by slice number."""
        numbers: dict[str, dict[int, Path]] = {}
        for file in sorted((self.folder / "train_npz").iterdir()):
            if match := SLICE_NAME.fullmatch(file.name):
                numbers.setdefault(match["case"], {})[int(match["number"])] = file
        for case, files in numbers.items():
            if missing := sorted(set(range(max(files) + 1)) - files.keys()):
                raise BadInput(
                    f"{self.folder / 'train_npz'}: {case} has slices up to {max(files)} but no slice {missing[0]};"
                    f" expected all from 0; add {case}_slice{missing[0]:03}.npz"
                )
        return {case: [files[n] for n in sorted(files)] for case, files in numbers.items()}

    @cached_property
    def split(self) -> Split:
        """Training cases in TransUNet's order, others after them by name; no validation set."""
        order = [case for case in CANONICAL if case in self.slices]
        order += sorted(self.slices.keys() - set(order))
        return Split(tuple(order), (), {"test": tuple(self.tests)})

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """Files that are no cases by their name, and sizes of organs, as far as they were read, that the classes' names do not fit."""
        told = []
        for folder, pattern in (("train_npz", SLICE_NAME), ("test_vol_h5", VOLUME_NAME)):
            there = [file.name for file in sorted((self.folder / folder).iterdir()) if not file.name.startswith(".")]
            if stray := [name for name in there if not pattern.fullmatch(name)]:
                told.append(f"{named(stray, len(there), 'files')} of {folder} are not called like a case and are not used")
        total = sum(self.sizes.values(), np.zeros(len(self.classes)))[1:]
        if total.any() and int(total.argmax()) + 1 != LIVER:
            told.append(
                f"the largest organ is class {int(total.argmax()) + 1}, which TransUNet calls {self.classes[int(total.argmax()) + 1]};"
                " expected the liver, class 5: the masks number organs otherwise, and all names may be wrong"
            )
        elif total.any() and int(total.argmin()) + 1 == BTCV_GALLBLADDER:
            told.append(
                "the smallest organ is class 4, which TransUNet calls right kidney, as where the masks keep BTCV's order (spleen, right"
                " kidney, left kidney, gallbladder, liver, stomach, aorta, pancreas): the names may be wrong"
            )
        return tuple(told)

    @property
    def reading(self) -> Reading:
        """New scans in h5 files like those of test volumes."""
        return Reading(windows=((0.0, 1.0),), values=tuple(range(len(self.classes))), arrays="zyx")

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's one volume; see ``Dataset.read``."""
        if case in self.tests:
            image, label = read_h5(self.tests[case], len(self.classes), labels)
            _check_axes(self.tests[case], image, 3)
        else:
            parts = [read_npz(file, len(self.classes), labels) for file in self.slices[case]]
            for file, (part, _) in zip(self.slices[case], parts, strict=True):
                _check_axes(file, part, 2)
                if part.shape != parts[0][0].shape:
                    raise BadInput(
                        f"{file} is {part.shape} and slice 0 is {parts[0][0].shape}; expected one size; replace the file"
                    )
            image = np.stack([part for part, _ in parts])
            label = np.stack([mask for _, mask in parts if mask is not None]) if labels else None
        if label is not None:
            self.sizes[case] = count_values(label)[: len(self.classes)]
        return (Volume(case, case, image[None], label, SPACING, spacing_known=False),)

    def content_hash(self) -> str:
        """Hash of every file that is read; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        return hash_files(self.folder, [*(f for files in self.slices.values() for f in files), *self.tests.values()])


def _check_axes(path: Path, image: np.ndarray, axes: int) -> None:
    if image.ndim != axes:
        raise BadInput(f"{path}: the image has shape {image.shape}; expected {axes} axes; replace the file")
    if image.min() < 0 or image.max() > 1:
        raise BadInput(
            f"{path}: intensities run from {image.min():g} to {image.max():g}; expected [0, 1];"
            " clip to [-125, 275] HU and scale as TransUNet does"
        )
