"""The files of what tuning found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import safe_name, write_text
from reports.tables.comparable import rows_of
from reports.tables.escaping import to_csv
from reports.tables.tuning import studies_of, transfers_of, trials_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def write_tuning(records: Records, folder: Path) -> list[Path]:
    """Write ``studies.csv``, ``trials.csv``, ``transfers.csv`` where there are any, and figures as PNG and SVG; returns the files, none
    where the records hold no trial.
    """
    import matplotlib as mpl

    from reports.figures.style import STYLE, save
    from reports.figures.tuning import front, growth, search

    trials = trials_of(records)
    if trials.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    studies, transfers = studies_of(trials), transfers_of(trials)
    trials = trials[trials["found_at"].isna()]
    long = trials.drop(columns=["searched", "protocol_title", "found_at"]).assign(objectives=trials["objectives"].map(",".join))
    paths = []
    for name, table in (("studies", studies), ("trials", long), ("transfers", transfers)):
        if len(table) or name != "transfers":
            paths.append(folder / f"{name}.csv")
            write_text(paths[-1], to_csv(table.assign(hparams=table["hparams"].map(json.dumps))))
    with mpl.rc_context(STYLE):
        objectives = trials["objectives"].map(lambda names: names[0]).rename("objective")
        for (dataset, protocol, objective), part in trials.groupby(["dataset", "protocol", objectives], sort=False):
            what = "best" if objective == "dsc" else f"best-{objective}"
            paths += save(growth(part), folder / safe_name(f"{dataset}-{protocol}-{what}"))
        for row in rows_of(studies):
            part = trials[trials["study"] == row.study]
            if (part["outcome"] == "done").sum() > 1:
                paths += save(search(part), folder / _file_name(row))
                if "," in row.objective:
                    paths += save(front(part), folder / f"{_file_name(row)}-front")
    return paths


def _file_name(row: Any) -> str:
    """A study's file: readable, and with the hash at the end of the study's name, its own."""
    parts = [row.dataset, row.protocol, row.method, str(row.labels)]
    return f"{safe_name('-'.join(parts))}-{row.study.rpartition(' ')[2]}"
