"""cases.csv: a row for each volume of a user's own data."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.ground.errors import BadInput
from datasets.readers import inside, read_text
from datasets.volumes import Files, Source

COLUMNS = ("case", "image", "label", "split")
USES = ("train", "val", "test")
CALLED = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Words for a use, without capitals."""
MAX_LINE = 10_000


@dataclass
class Table:
    """files: case -> volume -> its files. use: of each case. modality: of each channel, where the table says so."""

    files: Files = field(default_factory=dict)
    use: dict[str, str] = field(default_factory=dict)
    modality: tuple[str, ...] | None = None


def read_table(path: Path, slices: bool = False) -> Table:
    """The table; capitals and blanks in its header and in the column split do not matter. slices: whether a case's rows are its slices.

    Every column whose name begins with ``image`` holds a channel's file, and one cell may name several, separated by ``|``.

    Raises:
        BadInput: a column is missing, a row breaks a rule, or names a file that is not there.
    """
    lines = _lines(path)
    head = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=";" if ";" in head and "," not in head else "\t" if "\t" in head else ",")
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    image_columns = [name for name in rows.fieldnames if name.startswith("image")]
    if missing := [column for column in COLUMNS if column not in rows.fieldnames and not (column == "image" and image_columns)]:
        raise BadInput(
            f"{path} has no column {missing[0]}; expected {', '.join(COLUMNS)}, and frame or modality if you like; add it to the header"
        )
    found = Table()
    modalities: dict[str, str] = {}
    for raw in rows:
        row = {key: (value or "").strip() for key, value in raw.items() if isinstance(key, str) and not isinstance(value, list)}
        if not any(row.values()):
            continue  # what a spreadsheet leaves below its table
        case, where, use = row["case"], f"{path}, line {rows.line_num}", CALLED.get(row["split"].lower(), "")
        images = [name.strip() for column in image_columns for name in row[column].split("|") if name.strip()]
        if not case or not images or not use:
            held = ", ".join(f"{key} {value or 'empty'}" for key, value in row.items())
            raise BadInput(f"{where}: found {held}; expected a case, an image and train, val or test as split; correct it")
        if found.use.setdefault(case, use) != use:
            raise BadInput(f"{where}: {case} is in {found.use[case]} and in {use}; expected each case in one split; correct it")
        frame = row.get("frame", "") or (f"{len(found.files.get(case, {})) + 1:04}" if slices else "")
        volume = f"{case}_{frame}" if frame else case
        if volume in found.files.setdefault(case, {}):
            raise BadInput(f"{where}: {volume} comes twice; expected each volume once; give its rows different frames")
        label = inside(path.parent, row["label"], where) if row["label"] else None
        found.files[case][volume] = Source(tuple(inside(path.parent, name, where) for name in images), label)
        modalities.setdefault(row.get("modality", ""), where)
    if not found.files:
        raise BadInput(f"{path} has no rows; expected a row for each volume; fill the table")
    modalities.pop("", None)
    if len(modalities) > 1:
        raise BadInput(f"{path} has the modalities {', '.join(modalities)}; expected one for all rows; make a dataset of each")
    for stated in modalities:
        found.modality = tuple(stated.split("|"))
    return found


def _lines(table: Path) -> list[str]:
    """Lines that the csv module cannot choke on."""
    lines = read_text(table).splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if "\0" in line or len(line) > MAX_LINE:
            raise BadInput(
                f"{table}, line {number} has a NUL or more than {MAX_LINE} characters; expected text; save the table again"
            )
    return lines
