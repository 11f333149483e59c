"""M&Ms: short-axis cardiac MR of several scanners (Campello et al., IEEE TMI 40(12), 2021), 4-D series with ED and ES in a CSV.

``Training/Labeled/CODE/CODE_sa.nii.gz`` with ``CODE_sa_gt.nii.gz``, ``Training/Unlabeled``, ``Validation``, ``Testing``, and a table
``*information*.csv`` with the columns External code, Vendor, ED and ES (frames from 0).
"""

from __future__ import annotations

import csv
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


@register("mnms")
class MNMs(FileDataset):
    """The challenge's download. Canonical order: by code; random draws are balanced over vendors.

    path: the folder of Training and of the CSV.

    Raises:
        BadInput: no path, no table, or a patient lacks a file; later, a file breaks a rule.
    """

    labels = LabelMap(("background", "left ventricle", "myocardium", "right ventricle"))
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
            for home in sorted((path / part).iterdir()) if (path / part).is_dir() else ():
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


def _patients(table: Path) -> dict[str, tuple[int, int, str]]:
    """code -> frames of ED and ES, and vendor."""
    rows = csv.DictReader(read_text(table).splitlines())
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    if missing := [column for column in COLUMNS if column not in rows.fieldnames]:
        raise BadInput(f"{table} has no column {missing[0]}; expected External code, Vendor, ED and ES; download it again")
    found = {}
    for number, row in enumerate(rows, start=2):
        try:
            found[row["external code"].strip()] = (
                int(float(row["ed"])),
                int(float(row["es"])),
                (row.get("vendor") or "?").strip(),
            )
        except (TypeError, ValueError, AttributeError):
            raise BadInput(
                f"{table}, line {number}: found {dict(row)}; expected a code and the frames ED and ES; correct it"
            ) from None
    return found
