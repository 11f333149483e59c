"""The files of what follows from comparisons: rankings, labels that a method is worth, the price of choosing by validation."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import write_text
from reports.page.words import of_choices, of_labels, section_title
from reports.tables.comparable import SECTION
from reports.tables.comparison import Field
from reports.tables.escaping import to_csv
from reports.tables.label_equivalence import label_equivalence
from reports.tables.rankings import NOTE, ORDER, as_texts, rankings_of
from reports.tables.selection import regrets

if TYPE_CHECKING:
    from benchmark.records.table import Records


def write_standings(
    records: Records, found: list[Field], baseline: str, out: Path
) -> tuple[list[Path], list[str], dict[tuple[str, ...], dict[str, Any]]]:
    """Write rankings.csv, label_equivalence.csv and regret.csv; returns the files, sentences, and by section its folded table."""
    ranks, labels, choices = rankings_of(found), label_equivalence(found, baseline), regrets(records, found)
    paths = [out / f"{name}.csv" for name in ("rankings", "label_equivalence", "regret")]
    for path, table in zip(paths, (ranks, labels, choices), strict=True):
        write_text(path, to_csv(table))
    folded = {}
    for section, group in itertools.groupby(found, key=lambda field: field.section):
        part = ranks[(ranks[SECTION] == list(section)).all(axis=1)]
        if len(part):
            title = f"Rankings side by side: {section_title(next(group))}"
            rows = as_texts(part)
            folded[section] = {
                "title": title,
                "text": ["Method"],
                "header": ["Labels", "Method", *ORDER],
                "rows": rows,
                "note": NOTE,
                "folded": True,
            }
    return paths, [*of_labels(labels, found), *of_choices(choices, found)], folded
