"""ACDC as its challenge hands it out: NIfTI frames with spacing, Info.cfg with the pathology, patients 101-150 as a second test set.

``training/patientNNN/patientNNN_frameMM.nii.gz`` with ``_frameMM_gt.nii.gz`` and ``Info.cfg``; ``testing`` alike. The 4-D cine beside
them is no frame and is not read.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from benchmark.ground.errors import BadInput
from datasets.acdc.layout import GROUPS, Layout
from datasets.classes import LabelMap
from datasets.dataset import Split
from datasets.readers import read_text
from datasets.survey import named
from datasets.volumes import FileDataset, Source, Window

TRAIN = (
    *(99, 38, 50, 100, 58, 21, 49, 20, 72, 40, 60, 89, 4, 56, 98, 96, 31, 18, 94, 47, 48, 55, 97, 74, 43),
    *(41, 63, 37, 95, 54, 26, 88, 32, 69, 6, 71, 12, 73, 61, 17, 25, 10, 57, 29, 51, 5, 36, 46, 62, 34),
    *(76, 92, 70, 77, 67, 3, 91, 16, 14, 44, 42, 90, 53, 27, 35, 86, 23, 9, 79, 15),
)
VALIDATION = (28, 85, 82, 87, 19, 30, 78, 45, 2, 39)
TEST = (11, 13, 84, 33, 93, 22, 68, 24, 83, 81, 80, 1, 7, 66, 8, 65, 75, 64, 59, 52)
"""Patients in the order of SSL4MIS's lists."""

FRAME = re.compile(r"patient[0-9]{3}_frame[0-9]{2}")
CODES = dict(zip(("DCM", "HCM", "MINF", "NOR", "RV"), GROUPS, strict=True))
"""Info.cfg's names of the pathologies."""


class OfficialACDC(FileDataset):
    """ACDC's NIfTI download, a subset of patients or all. Intensities are scaled by each volume's minimum and maximum, as in SSL4MIS.

    path: the folder that holds ``training`` and, if you like, ``testing``.

    Raises:
        BadInput: a patient lacks a file or is where it should not be; later, a file breaks a rule.
    """

    name = Layout.name
    source, licence = Layout.source, Layout.licence
    labels = LabelMap(Layout.classes)
    windows: tuple[Window, ...] = (None,)
    percentiles = (0, 100)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folder = path
        self.files = self._patients("training", 1, 100)
        if (path / "testing").is_dir():
            self.files |= self._patients("testing", 101, 150)
        if not self.split.train:
            raise BadInput(
                f"{path} holds no training patient of the field's split; expected at least one; complete the download"
            )
        infos = (path / "training" / case / "Info.cfg" for case in self.split.train)
        self.about = tuple(info for info in infos if info.is_file())

    def _patients(self, part: str, first: int, last: int) -> dict[str, dict[str, Source]]:
        """case -> volume -> its files. Of patients to test on, frames without a mask are left out, and told."""
        files: dict[str, dict[str, Source]] = {}
        blank = []
        for folder in sorted((self.folder / part).glob("patient*")):
            number = folder.name.removeprefix("patient")
            if not folder.is_dir() or len(number) != 3 or not number.isdecimal() or not first <= int(number) <= last:
                raise BadInput(f"{folder} is there; expected folders patient{first:03} to patient{last:03}; remove it")
            there = {
                path.name.removesuffix(".gz").removesuffix(".nii"): _unfolded(path) for path in sorted(folder.glob("*.nii*"))
            }
            frames = {name: path for name, path in there.items() if FRAME.fullmatch(name)}
            masks = {name: there[f"{name}_gt"] for name in frames if f"{name}_gt" in there}
            missing = [name for name in frames if name not in masks or not name.startswith(folder.name)]
            if part == "testing" and missing and not masks:
                blank.append(folder.name)
                continue
            if missing:
                mask = folder / f"{missing[0]}_gt.nii{'.gz' if frames[missing[0]].suffix == '.gz' else ''}"
                raise BadInput(f"{mask} is missing; expected a mask for each frame of {folder.name}; complete the download")
            if not frames:
                raise BadInput(f"{folder} holds no {folder.name}_frameMM.nii.gz; expected two frames; complete the download")
            files[folder.name] = {name: Source((image,), masks[name]) for name, image in frames.items()}
        if blank:
            end = "" if files else ", and there is no second test set"
            self.told.append(
                f"{named(blank, len(blank) + len(files), 'patients')} of {part} have no masks: they are not used{end}"
            )
        return files

    @cached_property
    def split(self) -> Split:
        """The field's split of the patients that are there; test sets ``test`` and, of patients 101-150, ``official``."""

        def there(numbers: tuple[int, ...]) -> tuple[str, ...]:
            return tuple(case for number in numbers if (case := f"patient{number:03}") in self.files)

        tests = {"test": there(TEST), "official": there(tuple(range(101, 151)))}
        return Split(there(TRAIN), there(VALIDATION), {name: cases for name, cases in tests.items() if cases})

    @cached_property
    def train_groups(self) -> dict[str, str]:
        """The pathology of each training patient, from its Info.cfg, or from its number where that says nothing."""
        return {case: self._group(case) for case in self.split.train}

    def _group(self, case: str) -> str:
        path = self.folder / "training" / case / "Info.cfg"
        lines = read_text(path).splitlines() if path.is_file() else []
        code = next((line[6:].strip() for line in lines if line.startswith("Group:")), None)
        if code is None:
            return GROUPS[(int(case[-3:]) - 1) // 20]
        if code not in CODES:
            raise BadInput(f"{path} has Group {code}; expected one of {', '.join(CODES)}; download it again")
        return CODES[code]


def _unfolded(path: Path) -> Path:
    """The file itself, where an archive was unpacked into a folder for each."""
    return path / path.name if (path / path.name).is_file() else path
