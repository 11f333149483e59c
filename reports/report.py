"""Everything that a report consists of, written from records alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from reports import comparison_figures, page, tuning
from reports.comparison import fields
from reports.figures import save
from reports.leaderboard import SELECTIONS, leaderboard, write_leaderboard

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.records import Records

BASELINE = "supervised"
OVERVIEW = "DSC against labelled cases, with 95 % intervals (crossed bootstrap over runs and cases)."


def write_report(records: Records, out: Path, baseline: str = BASELINE) -> tuple[pd.DataFrame, list[Path]]:
    """Write index.html, leaderboard.csv, .md and .tex, cases.parquet, and figures/*.png and .svg; returns the leaderboard and the files.

    Raises:
        BadInput: as ``leaderboard``.
    """
    boards = {selection: leaderboard(records, selection) for selection in SELECTIONS}
    paths = write_leaderboard(boards["last"], out)
    records.cases.to_parquet(out / "cases.parquet", index=False)
    paths.append(out / "cases.parquet")

    found = {selection: list(fields(records, selection)) for selection in SELECTIONS}
    overview = [path for path in paths if path.suffix == ".png"]
    sections = [{"title": "Label efficiency", "figures": [_shown(OVERVIEW, path) for path in overview]}] if overview else []
    for section, group in itertools.groupby(found["last"], key=lambda field: field.section):
        title = page.section_title(section)
        figures = []
        for name, caption, figure in comparison_figures.section_figures(list(group), records, boards["last"], baseline):
            files = save(figure, out / "figures" / _file_name(section, name))
            paths += files
            figures.append(_shown(caption, files[0]))
        sections.append({"title": title, "figures": figures})
    tuned = tuning.write(records, out / "tuning")
    paths += tuned
    shown = [_shown(path.stem, path) for path in tuned if path.suffix == ".png"]
    paths.append(out / "index.html")
    paths[-1].write_text(page.page(records, baseline, boards, found, sections, shown), encoding="utf-8")
    return boards["last"], paths


def _file_name(section: tuple[str, ...], name: str) -> str:
    """A file name from names that may hold anything."""
    text = "-".join([*section, name])
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _shown(caption: str, path: Path) -> dict[str, str]:
    return {"caption": caption, "source": page.picture(path.read_bytes())}
