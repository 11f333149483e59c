"""Everything that a report consists of, written from records alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import comparison_figures, page, tuning
from reports.ablation import NOTES as EFFECTS
from reports.ablation import effects, header, texts_of, unit_of, write_ablation
from reports.comparison import Field, fields
from reports.figures import save
from reports.leaderboard import COMPARABLE, leaderboard, write_leaderboard

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.ablation import Ablation
    from benchmark.records import Records

BASELINE = "supervised"
FEW_SECTIONS = 3
Drawn = tuple[list[Path], dict[str, str]]
"""A figure's files, and its caption and picture for the page."""

OVERVIEW = "DSC against labelled cases, with 95 % intervals (crossed bootstrap over runs and cases)."


def write_report(
    records: Records, out: Path, baseline: str = BASELINE, ablations: Sequence[Ablation] = ()
) -> tuple[pd.DataFrame, list[Path]]:
    """Write index.html, leaderboard.csv, .md and .tex, cases.parquet, and figures/*.png and .svg; returns the leaderboard and the files.

    Raises:
        BadInput: as ``leaderboard``.
    """
    board = leaderboard(records)
    paths = write_leaderboard(board, out)
    records.cases.to_parquet(out / "cases.parquet", index=False)
    paths.append(out / "cases.parquet")

    found = list(fields(records))
    overview = [path for path in paths if path.suffix == ".png"]
    sections: list[dict[str, Any]] = (
        [{"title": "Label efficiency", "figures": [_shown(OVERVIEW, path) for path in overview]}] if overview else []
    )
    groups = [list(group) for _, group in itertools.groupby(found, key=lambda field: field.section)]
    work = [(group, _of(records, group), board, baseline, out / "figures") for group in groups]
    with _mapping(len(work)) as mapped:
        drawing = mapped(_draw, *zip(*work, strict=True)) if work else []
        rows = page.table_rows(records, baseline, board, found)
        best = leaderboard(records, "val")
        rows += page.table_rows(records, baseline, best[best["dsc"].notna()], list(fields(records, "val")))
        for group, drawn in zip(groups, drawing, strict=True):
            paths += [path for files, _ in drawn for path in files]
            sections.append({"title": page.section_title(group[0].section), "figures": [shown for _, shown in drawn]})
    places = set(zip(records.cells["dataset"], records.cells["protocol"], strict=True))
    for ablation in (a for a in ablations if (a.dataset, a.protocol) in places):
        section, files = _ablation(records, ablation, out / "ablation")
        sections.append(section)
        paths += files
    tuned = tuning.write(records, out / "tuning")
    paths += tuned
    shown = [_shown(path.stem, path) for path in tuned if path.suffix == ".png"]
    paths.append(out / "index.html")
    paths[-1].write_text(page.page(records, baseline, rows, found, sections, shown), encoding="utf-8")
    return board, paths


@contextmanager
def _mapping(parts: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """``map``, or one over processes where there is much to do: drawing takes most of a large report's time."""
    if parts <= FEW_SECTIONS:
        yield map
    else:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            yield pool.map


def _ablation(records: Records, ablation: Ablation, out: Path) -> tuple[dict[str, Any], list[Path]]:
    """The section of an ablation, its effects in a table, and the files written."""
    cells, design = records.cells, ablation.design
    mine = records.select((cells["dataset"] == ablation.dataset) & (cells["protocol"] == ablation.protocol)).without_trials()
    unit = unit_of(mine)
    files = write_ablation(mine, design, out / ablation.dataset / design.name)
    table = effects(mine, design)
    return {
        "title": f"What the parts of {design.method} do, {ablation.dataset}, protocol {ablation.protocol}",
        "header": ["Test set", *header(unit)],
        "rows": [[row["test_set"], *texts_of(row)] for _, row in table.iterrows()],
        "note": EFFECTS.format(unit=unit or "voxel"),
        "figures": [_shown(f"{path.stem} of {', '.join(design.factors)}", path) for path in files if path.suffix == ".png"],
    }, files


def _of(records: Records, group: list[Field]) -> Records:
    """The records of a section's dataset, protocol and track."""
    cells = records.cells
    return records.select((cells[COMPARABLE] == list(group[0].section[:3])).all(axis=1))


def _draw(group: list[Field], records: Records, board: pd.DataFrame, baseline: str, out: Path) -> list[Drawn]:
    """A section's figures."""
    drawn = []
    for name, caption, figure in comparison_figures.section_figures(group, records, board, baseline):
        files = save(figure, out / _file_name(group[0].section, name))
        drawn.append((files, _shown(caption, files[0])))
    return drawn


def _file_name(section: tuple[str, ...], name: str) -> str:
    """A file name from names that may hold anything."""
    text = "-".join([*section, name])
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def _shown(caption: str, path: Path) -> dict[str, str]:
    return {"caption": caption, "source": page.picture(path.read_bytes())}
