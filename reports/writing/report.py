"""Everything that a report consists of, written from records alone."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.ground.files import safe_name, write_atomically, write_text
from benchmark.records.table import Records
from reports.figures.overlays import Overlay, draw_overlay
from reports.figures.section import drawings
from reports.figures.style import STYLE, save
from reports.page.html import page, picture
from reports.page.rows import table_rows
from reports.page.words import section_title
from reports.tables.ablation import NOTES as EFFECTS
from reports.tables.ablation import effects, header, texts_of, unit_of
from reports.tables.by_metric import by_metric
from reports.tables.comparable import COMPARABLE, SECTION, rows_of, titled
from reports.tables.comparison import MARGIN, Field, fields, gaps_closed
from reports.tables.escaping import to_csv
from reports.tables.leaderboard import leaderboard
from reports.writing.ablation import write_ablation
from reports.writing.leaderboard import write_leaderboard
from reports.writing.paper import write_paper
from reports.writing.standings import write_standings
from reports.writing.tuning import write_tuning

if TYPE_CHECKING:
    from benchmark.records.ablations import Ablation

BASELINE = "supervised"
FEW_SECTIONS = 3
Drawn = tuple[list[Path], dict[str, str]]
"""A figure's files, and its caption and picture for the page."""

OVERVIEW = "DSC against labelled cases, with 95 % intervals (over runs and cases; over cases only where one run is done)."


def write_report(
    records: Records,
    out: Path,
    baseline: str = BASELINE,
    ablations: Sequence[Ablation] = (),
    overlays: Sequence[Overlay] = (),
    margin: float = MARGIN,
) -> tuple[pd.DataFrame, list[Path]]:
    """Write index.html, leaderboard.csv, .md and .tex, metrics.csv, rankings.csv, label_equivalence.csv, regret.csv, cases.parquet,
    paper/*, and figures/*.png and .svg; returns the leaderboard and the files.

    overlays: pictures of cases for the page; they show patients. margin: DSC points within which methods count as equivalent.

    Raises:
        BadInput: as ``leaderboard``.
    """
    with _processes(records) as pool:
        board, found = leaderboard(records), list(fields(records))
        drawing = _drawing(pool, found, records, board, baseline, out / "figures")
        paths = write_leaderboard(board, out)
        write_atomically(out / "cases.parquet", records.cases.to_parquet(index=False), durable=False)
        overview = [_shown(OVERVIEW, path) for path in paths if path.suffix == ".png"]
        paths.append(out / "cases.parquet")
        sections: list[dict[str, Any]] = [{"title": "Label efficiency", "figures": overview}] if overview else []
        sections += _gaps(found, board, baseline)
        measured = {selection: by_metric(records, baseline, selection, margin) for selection in ("last", "val")}
        paths.append(out / "metrics.csv")
        write_text(paths[-1], to_csv(pd.concat(measured.values())))
        rows = table_rows(measured["last"], baseline, board, found, margin)
        files, said, folded = write_standings(records, found, baseline, out)
        paths += files + write_paper(records, board, found, baseline, margin, out / "paper")
        titles = {field.section: section_title(field) for field in found}
        best = leaderboard(records, "val")
        rows += table_rows(measured["val"], baseline, best[best["dsc"].notna()], list(fields(records, "val")), margin)
        for section, drawn in drawing:
            paths += [path for files, _ in drawn for path in files]
            sections.append({"title": titles[section], "figures": [shown for _, shown in drawn]})
            sections += [folded[section]] if section in folded else []
    places = set(zip(records.cells["dataset"], records.cells["protocol"], strict=True))
    for ablation in (a for a in ablations if (a.dataset, a.protocol) in places):
        effects_section, files = _ablation(records, ablation, out / "ablation")
        sections.append(effects_section)
        paths += files
    if overlays:
        files = [
            draw_overlay(overlay, out / "figures" / safe_name("-".join([*overlay.section, overlay.name])))
            for overlay in overlays
        ]
        shown = [_shown(overlay.caption, file) for overlay, file in zip(overlays, files, strict=True)]
        sections.append({"title": "Cases", "figures": shown})
        paths += files
    tuned = write_tuning(records, out / "tuning")
    paths += tuned
    shown = [_shown(path.stem, path) for path in tuned if path.suffix == ".png"]
    paths.append(out / "index.html")
    write_text(paths[-1], page(records, baseline, rows, found, sections, shown, margin, said))
    return board, paths


@contextmanager
def _processes(records: Records) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that draw, where there is much to draw: most of a large report's time. They import what they need at once."""
    if len(records.cells.reindex(columns=COMPARABLE).drop_duplicates()) <= FEW_SECTIONS:
        yield None
        return
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        for _ in range(count):
            pool.submit(_ready)
        yield pool


def _ready() -> None:
    """Nothing to do: whoever calls it has imported this module."""


def _drawing(
    pool: ProcessPoolExecutor | None, found: list[Field], records: Records, board: pd.DataFrame, baseline: str, out: Path
) -> Iterator[tuple[tuple[str, ...], list[Drawn]]]:
    """Each section with its figures; ``pool`` draws them meanwhile."""
    work = [
        (group, part, board, baseline, out, number)
        for _, fields_of in itertools.groupby(found, key=lambda field: field.section)
        for group in [list(fields_of)]
        for part in [_of(records, group)]
        for number in range(len(drawings(group, part, board, baseline)))
    ]
    drawn = pool.map(_draw, *zip(*work, strict=True)) if pool and work else itertools.starmap(_draw, work)
    pairs = itertools.groupby(zip(work, drawn, strict=True), key=lambda pair: pair[0][0][0].section)
    return ((section, [one for _, one in part if one]) for section, part in pairs)


def _gaps(found: list[Field], board: pd.DataFrame, baseline: str) -> list[dict[str, Any]]:
    """The section of the gaps closed over all tasks, where both ends of the gap have run."""
    most: Any = board.groupby(SECTION)["train_cases"].max().dropna().items()
    everything = {tuple(section): int(count) for section, count in most}
    table = gaps_closed(found, everything, baseline)
    if table.empty:
        return []
    rows = [
        [row.variant, str(row.tasks), str(row.runs), f"{100 * row.gap:.0f}", _range(100 * row.low, 100 * row.high)]
        for row in rows_of(table)
    ]
    note = (
        f"Gap closed: 0 is {baseline} with the few labels of a task (dataset, test set and budget), 100 is {baseline} with all labels."
        " Interquartile mean over tasks and runs, with a bootstrap interval over the runs of each task; methods that ran on every task."
    )
    return [
        {
            "title": "Over all tasks",
            "header": ["Method", "Tasks", "Runs", "Gap closed %", "95 % CI"],
            "rows": rows,
            "note": note,
        }
    ]


def _range(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{low:.0f} to {high:.0f}"


def _ablation(records: Records, ablation: Ablation, out: Path) -> tuple[dict[str, Any], list[Path]]:
    """The section of an ablation, its effects in a table, and the files written."""
    cells, design = records.cells, ablation.design
    here = records.select((cells["dataset"] == ablation.dataset) & (cells["protocol"] == ablation.protocol))
    mine = here.without_trials()
    unit = unit_of(mine)
    files = write_ablation(mine, design, out / ablation.folder)
    table = effects(mine, design)
    return {
        "title": f"What the parts of {design.method} do, {ablation.dataset}, protocol {titled(here.cells).iloc[0]}",
        "header": ["Test set", *header(unit)],
        "rows": [[row["test_set"], *texts_of(row)] for _, row in table.iterrows()],
        "note": EFFECTS.format(unit=unit or "voxel"),
        "figures": [_shown(f"{path.stem} of {', '.join(design.factors)}", path) for path in files if path.suffix == ".png"],
    }, files


def _of(records: Records, group: list[Field]) -> Records:
    """What a section's figures show: its cells, and their cases' DSC with the last weights; a tenth of what would go to a process."""
    cells = records.cells
    part = records.select((cells[COMPARABLE] == list(group[0].section[:3])).all(axis=1))
    return Records(part.cells, part.cases[(part.cases["metric"] == "dsc") & (part.cases["selection"] == "last")])


def _draw(group: list[Field], records: Records, board: pd.DataFrame, baseline: str, out: Path, number: int) -> Drawn | None:
    """One of a section's figures."""
    import matplotlib as mpl

    drawing = drawings(group, records, board, baseline)[number]
    with mpl.rc_context(STYLE):
        figure = drawing.draw()
        if figure is None:
            return None
        files = save(figure, out / safe_name("-".join([*group[0].section, drawing.name])))
    return files, _shown(drawing.caption, files[0])


def _shown(caption: str, path: Path) -> dict[str, str]:
    return {"caption": caption, "source": picture(path.read_bytes())}
