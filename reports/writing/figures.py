"""Figures drawn, in several processes where there are many, and made ready for the page; one that fails is a sentence there."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import safe_name, write_atomically
from benchmark.ground.workers import cores
from benchmark.records.table import Records
from reports.figures.section import drawings
from reports.figures.style import STYLE, rendered
from reports.page.pictures import panels, photo
from reports.tables.comparable import COMPARABLE
from reports.tables.comparison import Field

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FEW_SECTIONS = 3
Shown = dict[str, Any]
"""What the page shows of a figure: caption; panels (SVG), the shapes that they use, and files; or source, a picture; or failed, why."""

Drawn = tuple[list[Path], Shown]
"""A figure's files, and what the page shows."""


def drawn(draw: Callable[[], Figure | None], caption: str, stem: Path) -> Drawn | None:
    """Draw and write a figure; None where there is nothing to draw. What goes wrong in drawing is told in its place."""
    import matplotlib as mpl

    try:
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what cannot be laid out well is still drawn; words about it help nobody
            figure = draw()
            if figure is None:
                return None
            contents = rendered(figure)
            shown, shapes = panels(contents[".svg"], caption)
    except Exception as error:  # whatever a name or a number does to a figure, the page stands
        return [], {"caption": caption, "failed": f"This figure could not be drawn ({type(error).__name__}: {error})."}
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomically(path, content, durable=False)
    return paths, {"caption": caption, "panels": shown, "shapes": shapes, "files": paths}


def photographed(caption: str, path: Path) -> Shown:
    """What the page shows of a PNG."""
    return {"caption": caption, "source": photo(path.read_bytes())}


@contextmanager
def processes(records: Records) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that draw, where there is much to draw: most of a large report's time. They import what they need at once."""
    if len(records.cells.reindex(columns=COMPARABLE).drop_duplicates()) <= FEW_SECTIONS:
        yield None
        return
    count = cores()
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        for _ in range(count):
            pool.submit(_ready)
        yield pool


def _ready() -> None:
    """Nothing to do: whoever calls it has imported this module."""


def sections_drawn(
    pool: ProcessPoolExecutor | None,
    found: list[Field],
    records: Records,
    board: pd.DataFrame,
    baseline: str,
    numbers: dict[str, int],
    out: Path,
) -> Iterator[tuple[tuple[str, ...], list[Drawn]]]:
    """Each section with its figures; ``pool`` draws them meanwhile. numbers: of variants, for their looks."""
    work = [
        (group, part, board, baseline, numbers, out, number)
        for _, fields_of in itertools.groupby(found, key=lambda field: field.section)
        for group in [list(fields_of)]
        for part in [_of(records, group)]
        for number in range(len(drawings(group, part, board, baseline, numbers)))
    ]
    figures = pool.map(_draw, *zip(*work, strict=True)) if pool and work else itertools.starmap(_draw, work)
    pairs = itertools.groupby(zip(work, figures, strict=True), key=lambda pair: pair[0][0][0].section)
    return ((section, [one for _, one in part if one]) for section, part in pairs)


def _of(records: Records, group: list[Field]) -> Records:
    """What a section's figures show: its cells, and their cases' DSC with the last weights; a tenth of what would go to a process."""
    cells = records.cells
    part = records.select((cells[COMPARABLE] == list(group[0].section[:3])).all(axis=1))
    return Records(part.cells, part.cases[(part.cases["metric"] == "dsc") & (part.cases["selection"] == "last")])


def _draw(
    group: list[Field],
    records: Records,
    board: pd.DataFrame,
    baseline: str,
    numbers: dict[str, int],
    out: Path,
    number: int,
) -> Drawn | None:
    """One of a section's figures."""
    drawing = drawings(group, records, board, baseline, numbers)[number]
    return drawn(drawing.draw, drawing.caption, out / safe_name("-".join([*group[0].section, drawing.name])))
