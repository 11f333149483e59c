"""Everything that a report consists of, written from records alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.ground.files import safe_name, write_atomically, write_text
from benchmark.records.table import Records
from reports.figures.key import key
from reports.figures.overlays import Overlay, draw_overlay
from reports.figures.style import numbers_of, rendered
from reports.page.html import page
from reports.page.pictures import panels
from reports.page.rows import table_rows
from reports.page.words import in_words, of_collapsed, section_title, summary
from reports.tables.ablation import NOTES as EFFECTS
from reports.tables.ablation import effects, header, texts_of, unit_of
from reports.tables.by_metric import by_metric
from reports.tables.comparable import SECTION, rows_of, titled
from reports.tables.comparison import BASELINE, MARGIN, Field, fields, gaps_closed
from reports.tables.escaping import to_csv
from reports.tables.leaderboard import TABLE, leaderboard
from reports.writing.ablation import write_ablation
from reports.writing.figures import Shown, photographed, processes, sections_drawn
from reports.writing.leaderboard import write_leaderboard
from reports.writing.paper import write_paper
from reports.writing.standings import write_standings
from reports.writing.tuning import write_tuning

if TYPE_CHECKING:
    from benchmark.records.ablations import Ablation

Section = dict[str, Any]
"""Of the page: title; header, rows and note of a table, folded or not; figures."""

Runs = tuple[pd.DataFrame, list[list[Any]], list[Section], list[str], list[Path]]
"""The leaderboard, the page's rows, its sections and sentences, and the files."""


def write_report(
    records: Records,
    out: Path,
    baseline: str = BASELINE,
    ablations: Sequence[Ablation] = (),
    overlays: Sequence[Overlay] = (),
    margin: float = MARGIN,
) -> tuple[pd.DataFrame, list[Path]]:
    """Write index.html, leaderboard.csv, .md and .tex, metrics.csv, rankings.csv, label_equivalence.csv, regret.csv, cases.parquet,
    paper/*, and figures/*.png and .svg; of records of trials alone what tuning found. Returns the leaderboard and the files.

    overlays: pictures of cases for the page; they show patients. margin: DSC points within which methods count as equivalent.

    Raises:
        BadInput: as ``leaderboard``.
    """
    cells = records.cells
    trials = cells[cells["kind"] == "trial"]
    numbers = numbers_of([*records.without_trials().cells["variant"], *(trial["of"] for trial in trials.get("trial", []))])
    nothing: Runs = (pd.DataFrame(columns=TABLE), [], [], [], [])
    trials_alone = len(trials) and len(trials) == len(cells)
    board, rows, sections, words, files = nothing if trials_alone else _of_runs(records, out, baseline, margin, numbers)
    places = set(zip(cells["dataset"], cells["protocol"], strict=True))
    for ablation in (a for a in ablations if (a.dataset, a.protocol) in places):
        section, more = _ablation(records, ablation, out / "ablation")
        sections.append(section)
        files += more
    if overlays:
        pictures = [
            draw_overlay(overlay, out / "figures" / safe_name("-".join([*overlay.section, overlay.name])))
            for overlay in overlays
        ]
        shown = [photographed(overlay.caption, file) for overlay, file in zip(overlays, pictures, strict=True)]
        sections.append({"title": "Cases", "figures": shown})
        files += pictures
    tuned, figures = write_tuning(records, out / "tuning", numbers)
    files += tuned
    if figures:
        sections.append({"title": "Tuning", "figures": _linked(out, figures)})
    tables = [path for path in files if path.suffix in (".csv", ".parquet", ".tex")]
    looks, shapes = panels(rendered(key(numbers))[".svg"], "") if rows else ([], {})
    named, beside = dict(zip(numbers, looks, strict=False)), [path.relative_to(out) for path in tables]
    text = page(records, rows, sections, summary(records, baseline), words, named, shapes, beside)
    write_text(out / "index.html", text)
    return board, [*files, out / "index.html"]


def _of_runs(records: Records, out: Path, baseline: str, margin: float, numbers: dict[str, int]) -> Runs:
    """What runs come to."""
    with processes(records) as pool:
        board, found = leaderboard(records), list(fields(records))
        drawing = sections_drawn(pool, found, records, board, baseline, numbers, out / "figures")
        files = write_leaderboard(board, out, found)
        write_atomically(out / "cases.parquet", records.cases.to_parquet(index=False), durable=False)
        sections = _gaps(found, board, baseline)
        measured = {selection: by_metric(records, baseline, selection, margin) for selection in ("last", "val")}
        files += [out / "cases.parquet", out / "metrics.csv"]
        write_text(files[-1], to_csv(pd.concat(measured.values())))
        rows = table_rows(measured["last"], baseline, board, found, margin)
        more, said, folded = write_standings(records, found, baseline, out)
        files += more + write_paper(records, board, found, baseline, margin, out / "paper")
        titles = {field.section: section_title(field) for field in found}
        best = leaderboard(records, "val")
        rows += table_rows(measured["val"], baseline, best[best["dsc"].notna()], list(fields(records, "val")), margin)
        for section, figures in drawing:
            files += [path for paths, _ in figures for path in paths]
            sections.append({"title": titles[section], "figures": _linked(out, [shown for _, shown in figures])})
            sections += [folded[section]] if section in folded else []
    words = [*in_words(found, baseline, margin), *of_collapsed(board), *said]
    return board, rows, sections, words, files


def _linked(out: Path, figures: list[Shown]) -> list[Shown]:
    """The figures with their files as the page names them."""
    return [shown | {"files": [path.relative_to(out) for path in shown.get("files", [])]} for shown in figures]


def _gaps(found: list[Field], board: pd.DataFrame, baseline: str) -> list[Section]:
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
            "text": ["Method"],
            "header": ["Method", "Tasks", "Runs", "Gap closed %", "95 % CI"],
            "rows": rows,
            "note": note,
        }
    ]


def _range(low: float, high: float) -> str:
    return "-" if math.isnan(low) else f"{low:.0f} to {high:.0f}"


def _ablation(records: Records, ablation: Ablation, out: Path) -> tuple[Section, list[Path]]:
    """The section of an ablation, its effects in a table, and the files written."""
    cells, design = records.cells, ablation.design
    here = records.select((cells["dataset"] == ablation.dataset) & (cells["protocol"] == ablation.protocol))
    mine = here.without_trials()
    unit = unit_of(mine)
    files, figures = write_ablation(mine, design, out / ablation.folder)
    table = effects(mine, design)
    return {
        "title": f"What the parts of {design.method} do, {ablation.dataset}, protocol {titled(here.cells).iloc[0]}",
        "text": ["Test set", "Effect of"],
        "header": ["Test set", *header(unit)],
        "rows": [[row["test_set"], *texts_of(row)] for _, row in table.iterrows()],
        "note": EFFECTS.format(unit=unit or "voxel"),
        "figures": _linked(out.parent, figures),
    }, files
