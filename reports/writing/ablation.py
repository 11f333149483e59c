"""The files of an ablation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import write_text
from reports.tables.ablation import effects, factorial_scores, to_markdown, unit_of
from reports.tables.escaping import to_csv
from reports.writing.leaderboard import can_draw

if TYPE_CHECKING:
    from benchmark.records.ablations import Design
    from benchmark.records.table import Records


ADDED = (
    "From the baseline to everything: what each part adds when it is switched on after those before it, with 95 % intervals."
)
TOGETHER = (
    "DSC over the levels of one part, a line a level of another: parallel lines mean that neither changes what the other adds."
)


def write_ablation(records: Records, design: Design, out: Path) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write effects.csv, effects.md and, where a run is complete and ``can_draw``, interaction and waterfall plots.

    Returns the files, and what the page shows of the plots.
    """
    table = effects(records, design)
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "effects.csv", out / "effects.md"]
    for path, text in zip(paths, [to_csv(table), to_markdown(table, design, unit_of(records))], strict=True):
        write_text(path, text)
    scores = [s for s in factorial_scores(records, design) if s.metric == "dsc"]
    if scores and can_draw():
        from reports.figures.ablation import interactions, waterfall  # matplotlib is slow to import
        from reports.writing.figures import drawn

        parts, plots = ", ".join(design.factors), [drawn(lambda: waterfall(scores, design), ADDED, out / "waterfall")]
        if len(design.factors) > 1:
            caption = f"{TOGETHER} Parts: {parts}."
            plots.insert(0, drawn(lambda: interactions(scores, design), caption, out / "interactions"))
        figures = [plot for plot in plots if plot]
        return paths + [path for files, _ in figures for path in files], [shown for _, shown in figures]
    return paths, []
