"""The files to write a paper from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.ground.files import write_text
from reports.tables.comparison import Field
from reports.tables.paper import DOCUMENT, bibtex, checklist, methods_paragraph, results_sentences

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.records.table import Records


def write_paper(
    records: Records, board: pd.DataFrame, found: list[Field], baseline: str, margin: float, folder: Path
) -> list[Path]:
    """Write methods.tex, results.tex, checklist.tex, references.bib, and paper.tex, which holds them all and compiles; returns them."""
    texts = {
        "methods.tex": methods_paragraph(records, found, margin),
        "results.tex": results_sentences(board, found, baseline, margin),
        "checklist.tex": checklist(records, found),
        "references.bib": bibtex(records.without_trials().cells),
        "paper.tex": DOCUMENT,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
