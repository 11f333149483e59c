"""The files of what tuning found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import safe_name, write_text
from reports.tables.comparable import rows_of
from reports.tables.escaping import to_csv
from reports.tables.tuning import studies_of, trials_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def write_tuning(records: Records, folder: Path) -> list[Path]:
    """Write ``studies.csv``, ``trials.csv``, and figures as PNG and SVG; returns the files, none where the records hold no trial."""
    import matplotlib as mpl

    from reports.figures.style import STYLE, save
    from reports.figures.tuning import growth, search

    trials = trials_of(records)
    if trials.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    studies = studies_of(trials)
    paths = [folder / "studies.csv", folder / "trials.csv"]
    for path, table in zip(paths, (studies, trials.drop(columns=["searched", "protocol_title"])), strict=True):
        write_text(path, to_csv(table.assign(hparams=table["hparams"].map(json.dumps))))
    with mpl.rc_context(STYLE):
        for (dataset, protocol), part in trials.groupby(["dataset", "protocol"], sort=False):
            paths += save(growth(part), folder / safe_name(f"{dataset}-{protocol}-best"))
        for row in rows_of(studies):
            part = trials[trials["study"] == row.study]
            if (part["outcome"] == "done").sum() > 1:
                paths += save(search(part), folder / _file_name(row))
    return paths


def _file_name(row: Any) -> str:
    """A study's file: readable, and with the hash at the end of the study's name, its own."""
    parts = [row.dataset, row.protocol, row.method, str(row.labels)]
    return f"{safe_name('-'.join(parts))}-{row.study.rpartition(' ')[2]}"
