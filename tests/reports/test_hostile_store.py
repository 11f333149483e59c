"""A report of records that mean harm, or on a disk that is full: a page that names them, and the last good files."""

import csv
import os
import re
from pathlib import Path
from typing import Any

import pytest

import reports
from benchmark.ground.errors import DiskFull
from reports.tables.escaping import in_markdown, to_csv
from reports.tables.latex import to_latex
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown
from reports.writing.report import write_report
from reports.writing.tuning import write_tuning
from tests.conftest import Disk
from tests.reports.made_up_records import cell, failed, make_records, record, scores

NAMES = (
    r"$\frac{$",
    "$x_{1}^2$",
    "=cmd|' /C calc'!A0",
    "@SUM(1)",
    "<img src=x onerror=alert(1)>",
    "[click](http://bad.example)",
    "![x](http://bad.example/x.png)",
    "a\\|b",
    "`code`",
    r"\input{/etc/passwd}",
)


def hostile(name: str) -> Any:
    """Records in which every text is ``name``."""
    one = cell(name, protocol_title=name)
    other = failed(variant=f"{name} failed", protocol_title=name)
    return make_records(
        [one, other | {"error": f"{name}\n\n# {name}"}], scores(one, {name: 0.5, "b": 0.6}, classes=(name,), test_set=name)
    )


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_records_stay_texts_in_tables(name: str) -> None:
    table = leaderboard(hostile(name))
    for row in csv.reader(to_csv(table).splitlines()):
        assert not any(value.startswith(("=", "@")) for value in row)
    markdown = to_markdown(table)
    assert "<img" not in markdown and "](http" not in markdown and not re.search(r"^# (?!Leaderboard)", markdown, re.MULTILINE)
    for title, *rows in (part.strip().splitlines() for part in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)):
        assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {title.count("|")}
    assert r"\input" not in to_latex(table)


def test_texts_of_records_begin_no_formula_in_figures(tmp_path: Path) -> None:
    board, files = write_report(hostile(NAMES[0]), tmp_path, "supervised")
    drawn = [file.read_text() for file in files if file.suffix == ".svg"]
    assert len(board) == 2 and len(drawn) > 2 and any("$\\frac{$" in text for text in drawn)
    trial = {
        "study": "s",
        "of": NAMES[0],
        "number": 0,
        "sampler": "tpe",
        "searched": {"a": {"low": 0.1, "high": 1.0, "log": True}},
    }
    about = {"looks": [(500, 0.5)], "steps_done": 500, "validation_last": 0.5, "protocol_title": NAMES[0]}
    trials = [
        record(cell=f"t{n}", variant=f"t{n}", kind="trial", trial=trial | {"number": n}, hparams={"a": 0.5}, **about)
        for n in (0, 1)
    ]
    assert len(write_tuning(make_records(trials), tmp_path / "tuning")[0]) == 6


def test_every_table_is_guarded_against_formulas() -> None:
    source = "".join(path.read_text() for path in Path(reports.__file__).parent.rglob("*.py"))
    assert source.count(".to_csv(") == 1  # in the one function that guards it


def test_newlines_and_bars_end_no_row() -> None:
    assert in_markdown("a\n\nb | c") == r"a b \| c"


@pytest.mark.parametrize("free", [0, 40_000])
def test_on_a_full_disk_the_last_good_report_stays(grid: Any, disk: Disk, free: int) -> None:
    out = disk.path / "report"
    write_report(grid, out, "supervised")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    about = os.statvfs(disk.path)
    with (disk.path / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - free)
    with pytest.raises(DiskFull, match="no space is left"):
        write_report(grid, out, "supervised")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
