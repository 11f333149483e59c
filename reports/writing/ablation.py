"""The files of an ablation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.ground.files import write_text
from reports.tables.ablation import effects, factorial_scores, to_markdown, unit_of
from reports.tables.escaping import to_csv
from reports.writing.leaderboard import can_draw

if TYPE_CHECKING:
    from benchmark.records.ablations import Design
    from benchmark.records.table import Records


def write_ablation(records: Records, design: Design, out: Path) -> list[Path]:
    """Write effects.csv, effects.md and, where a run is complete and ``can_draw``, interaction and waterfall plots; returns the files."""
    table = effects(records, design)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "effects.csv", out / "effects.md"]
    for path, text in zip(paths, [to_csv(table), to_markdown(table, design, unit_of(records))], strict=True):
        write_text(path, text)
    scores = [s for s in factorial_scores(records, design) if s.metric == "dsc"]
    if scores and can_draw():
        from reports.figures.ablation import interactions, waterfall  # matplotlib is slow to import

        paths += interactions(scores, design, out / "interactions") if len(design.factors) > 1 else []
        paths += waterfall(scores, design, out / "waterfall")
    return paths
