"""The files of what tuning found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.ground.files import safe_name, write_text
from reports.tables.comparable import rows_of
from reports.tables.escaping import to_csv
from reports.tables.tuning import NAMES, SCALE, studies_of, transfers_of, trials_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def write_tuning(
    records: Records, folder: Path, numbers: dict[str, int] | None = None
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write ``studies.csv``, ``trials.csv``, ``transfers.csv`` where there are any, and figures as PNG and SVG, if there is a trial.

    Returns the files, and what the page shows of the figures. numbers: of methods, for their looks.
    """
    from reports.figures.style import numbers_of
    from reports.figures.tuning import front, growth, search
    from reports.writing.figures import drawn

    trials = trials_of(records)
    if trials.empty:
        return [], []
    folder.mkdir(parents=True, exist_ok=True)
    studies, transfers = studies_of(trials), transfers_of(trials)
    trials = trials[trials["found_at"].isna()]
    long = trials.drop(columns=["searched", "protocol_title", "found_at"]).assign(objectives=trials["objectives"].map(",".join))
    paths = []
    for name, table in (("studies", studies), ("trials", long), ("transfers", transfers)):
        if len(table) or name != "transfers":
            paths.append(folder / f"{name}.csv")
            write_text(paths[-1], to_csv(table.assign(hparams=table["hparams"].map(json.dumps))))
    numbers = numbers or numbers_of(trials["method"])
    objectives = trials["objectives"].map(lambda names: names[0]).rename("objective")
    figures = []
    for (dataset, protocol, objective), part in trials.groupby(["dataset", "protocol", objectives], sort=False):
        what = "best" if objective == "dsc" else f"best-{objective}"
        title = part["protocol_title"].iloc[0]
        caption = f"{dataset}, protocol {title}: validation {NAMES[objective]} as trials go on; 0 is the published values."
        figures.append(drawn(partial(growth, part, numbers), caption, folder / safe_name(f"{dataset}-{protocol}-{what}")))
    for row in rows_of(studies):
        part = trials[trials["study"] == row.study]
        if (part["outcome"] == "done").sum() > 1:
            figures.append(drawn(partial(search, part), _found(row), folder / _file_name(row)))
            if "," in row.objective:
                caption = f"{row.method}, {row.labels} labelled, {row.dataset}: both objectives of each trial; the Pareto front is joined."
                figures.append(drawn(partial(front, part), caption, folder / f"{_file_name(row)}-front"))
    done = [figure for figure in figures if figure]
    files = [path for files, _ in done for path in files]
    return paths + files, [shown for _, shown in done]


def _found(row: Any) -> str:
    """What a study came to."""
    objective = row.objective.partition(",")[0]
    best = ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in row.hparams.items()
    )
    published = "" if pd.isna(row.published) else f" (published values: {SCALE[objective] * row.published:.1f})"
    came = "no score" if pd.isna(row.best) else f"best {NAMES[objective]} {SCALE[objective] * row.best:.1f} with {best}"
    of = f"{row.method}, {row.labels} labelled, {row.dataset}: {row.trials} trials, a line each"
    return f"{of}; on the validation cases {came}{published}."


def _file_name(row: Any) -> str:
    """A study's file: readable, and with the hash at the end of the study's name, its own."""
    parts = [row.dataset, row.protocol, row.method, str(row.labels)]
    return f"{safe_name('-'.join(parts))}-{row.study.rpartition(' ')[2]}"
