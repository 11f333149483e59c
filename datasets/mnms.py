"""M&Ms and M&Ms-2: short-axis cardiac MR of several scanners, at end-diastole (ED) and end-systole (ES).

M&Ms (Campello et al., IEEE TMI 40(12), 2021): ``Training/Labeled/CODE/CODE_sa.nii.gz`` with ``CODE_sa_gt.nii.gz``, 4-D,
``Training/Unlabeled``, ``Validation``, ``Testing``, and a table ``*information*.csv`` with the columns External code, Vendor, ED and ES
(frames from 0). M&Ms-2 (Martin-Isla et al., IEEE JBHI 27(7), 2023): ``dataset/NNN/NNN_SA_ED.nii.gz`` with ``NNN_SA_ED_gt.nii.gz``, ES
alike, and ``dataset_information.csv``; subjects 1 to 160 train, 161 to 200 validate, 201 to 360 test.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.classes import LabelMap
from datasets.dataset import Split
from datasets.readers import read_text
from datasets.survey import named
from datasets.volumes import FileDataset, Source

PARTS = {"Training/Labeled": "train", "Training/Unlabeled": "unlabelled", "Validation": "val", "Testing": "test"}
COLUMNS = ("external code", "ed", "es")
USES = {"train": range(1, 161), "val": range(161, 201), "test": range(201, 361)}
"""Subjects of M&Ms-2 by use."""

CLASSES = LabelMap(("background", "left ventricle", "myocardium", "right ventricle"))


@register("mnms")
class MNMs(FileDataset):
    """The challenge's download. Canonical order: by code; random draws are balanced over vendors.

    path: the folder of Training and of the CSV.

    Raises:
        BadInput: no path, no table, or a patient lacks a file; later, a file breaks a rule.
    """

    labels = CLASSES
    source = "register at www.ub.edu/mnms and name the folder that holds Training and the CSV of the patients"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset mnms needs --data FOLDER; {self.source}")
        self.folder = path
        tables = sorted(path.glob("*information*.csv"))
        if not tables or not (path / "Training").is_dir():
            raise BadInput(f"{path} has no Training or no *information*.csv; expected M&Ms as it is handed out; {self.source}")
        self.about = (tables[0],)
        patients = _patients(tables[0])
        self.files = {}
        cases: dict[str, list[str]] = {use: [] for use in PARTS.values()}
        strangers = []
        for part, use in PARTS.items():
            for home in sorted((path / part).glob("[!.]*")):
                image, label = (home / f"{home.name}_sa{end}.nii.gz" for end in ("", "_gt"))
                if not home.is_dir() or home.name not in patients or not image.is_file():
                    strangers += [f"{part}/{home.name}"]
                    continue
                if use != "unlabelled" and not label.is_file():
                    raise BadInput(f"{label} is missing; expected a mask for each patient of {part}; complete the download")
                frames = dict(zip(("ED", "ES"), patients[home.name][:2], strict=True))
                self.files[home.name] = {
                    f"{home.name}_{name}": Source((image,), None if use == "unlabelled" else label, frame)
                    for name, frame in frames.items()
                }
                cases[use].append(home.name)
        if strangers:
            self.told.append(
                f"{named(strangers, None, 'entries')} are no patients of the table with a short-axis series; not used"
            )
        if not cases["train"]:
            raise BadInput(f"{path} holds no labelled training patient; expected at least one; complete the download")
        tests = {"test": tuple(cases["test"])}
        self._split = Split(tuple(cases["train"]), tuple(cases["val"]), tests, tuple(cases["unlabelled"]))
        self._vendors = {case: patients[case][2] for case in cases["train"]}

    @property
    def split(self) -> Split:
        """The challenge's; the one test set is called ``test``."""
        return self._split

    @property
    def train_groups(self) -> dict[str, str]:
        """The scanner's vendor of each training patient."""
        return self._vendors


@register("mnms2")
class MNMs2(FileDataset):
    """M&Ms-2, its short axes; the long axes beside them are another view and are not read. Random draws are balanced over vendors.

    path: the folder of ``dataset`` and of ``dataset_information.csv``, a subset of subjects or all.

    Raises:
        BadInput: no path, no such layout, or a subject lacks a file; later, a file breaks a rule.
    """

    labels = CLASSES
    source = "register at www.ub.edu/mnms-2 and name the folder that holds dataset and dataset_information.csv"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset mnms2 needs --data FOLDER; {self.source}")
        table = path / "dataset_information.csv"
        if not table.is_file() or not (path / "dataset").is_dir():
            raise BadInput(f"{path} has no dataset or no {table.name}; expected M&Ms-2 as it is handed out; {self.source}")
        self.folder, self.about, self.files = path, (table,), {}
        cases: dict[str, list[str]] = {use: [] for use in USES}
        strangers = []
        for home in sorted((path / "dataset").glob("[!.]*")):
            use = next((use for use, numbers in USES.items() if home.name.isdecimal() and int(home.name) in numbers), None)
            if use is None:
                strangers.append(home.name)
                continue
            volumes = {f"{home.name}_{name}": _short_axis(home, name) for name in ("ED", "ES")}
            self.files[home.name] = volumes
            cases[use].append(home.name)
        if strangers:
            self.told.append(f"{named(strangers, None, 'entries')} of dataset are no subjects from 1 to 360; not used")
        if not cases["train"] or not cases["test"]:
            found = f"{len(cases['train'])} training and {len(cases['test'])} test subjects"
            raise BadInput(f"{path} holds {found}; expected at least one of each; complete the download")
        self._split = Split(tuple(cases["train"]), tuple(cases["val"]), {"test": tuple(cases["test"])})
        vendors = {row["subject_code"].zfill(3): row.get("vendor") or "?" for row in _rows(table, ("subject_code",))}
        self._vendors = {case: vendors.get(case, "?") for case in cases["train"]}

    @property
    def split(self) -> Split:
        """The challenge's; the one test set is called ``test``."""
        return self._split

    @property
    def train_groups(self) -> dict[str, str]:
        """The scanner's vendor of each training subject."""
        return self._vendors


def _short_axis(home: Path, frame: str) -> Source:
    """Image and mask of a subject's frame."""
    image, label = (home / f"{home.name}_SA_{frame}{end}.nii.gz" for end in ("", "_gt"))
    for path in (image, label):
        if not path.is_file():
            raise BadInput(f"{path} is missing; expected image and mask of ED and ES for each subject; complete the download")
    return Source((image,), label)


def _patients(table: Path) -> dict[str, tuple[int, int, str]]:
    """code -> frames of ED and ES, and vendor."""
    found = {}
    for number, row in enumerate(_rows(table, COLUMNS), start=2):
        try:
            found[row["external code"]] = (int(float(row["ed"])), int(float(row["es"])), row.get("vendor") or "?")
        except ValueError:
            held = ", ".join(f"{key} {value or 'empty'}" for key, value in row.items() if key in COLUMNS)
            raise BadInput(
                f"{table}, line {number}: found {held}; expected a code and the frames ED and ES; correct it"
            ) from None
    return found


def _rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table by column; capitals and blanks around do not matter.

    Raises:
        BadInput: it lacks one of the columns.
    """
    text = read_text(table)
    rows = csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ",")
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := [column for column in columns if column not in rows.fieldnames]:
        raise BadInput(f"{table} has no column {missing[0]}; expected {', '.join(columns)} and vendor; download it again")
    return [{key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in rows]
