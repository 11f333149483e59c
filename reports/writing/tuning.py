"""The files of what tuning found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.files import safe_name, write_text
from reports.tables.comparable import rows_of
from reports.tables.escaping import to_csv
from reports.tables.tuning import studies_of, trials_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


def write_tuning(
    records: Records, folder: Path, numbers: dict[str, int] | None = None
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Write ``studies.csv``, ``trials.csv``, and figures as PNG and SVG, if the records hold a trial.

    Returns the files, and what the page shows of the figures. numbers: of methods, for their looks.
    """
    from reports.figures.style import numbers_of
    from reports.figures.tuning import growth, search
    from reports.writing.figures import drawn

    trials = trials_of(records)
    if trials.empty:
        return [], []
    folder.mkdir(parents=True, exist_ok=True)
    studies = studies_of(trials)
    paths = [folder / "studies.csv", folder / "trials.csv"]
    for path, table in zip(paths, (studies, trials.drop(columns=["searched", "protocol_title"])), strict=True):
        write_text(path, to_csv(table.assign(hparams=table["hparams"].map(json.dumps))))
    numbers = numbers or numbers_of(trials["method"])
    figures = []
    for (dataset, protocol), part in trials.groupby(["dataset", "protocol"], sort=False):
        caption = (
            f"{dataset}, protocol {part['protocol_title'].iloc[0]}: validation DSC as trials go on; 0 is the published values."
        )
        figures.append(drawn(partial(growth, part, numbers), caption, folder / safe_name(f"{dataset}-{protocol}-best")))
    for row in rows_of(studies):
        part = trials[trials["study"] == row.study]
        if (part["outcome"] == "done").sum() > 1:
            figures.append(drawn(partial(search, part), _found(row), folder / _file_name(row)))
    done = [figure for figure in figures if figure]
    files = [path for files, _ in done for path in files]
    return paths + files, [shown for _, shown in done]


def _found(row: Any) -> str:
    """What a study came to."""
    best = ", ".join(f"{name}={value:.3g}" for name, value in row.hparams.items())
    published = "" if row.published is None else f" (published values: {100 * row.published:.1f} %)"
    return (
        f"{row.method}, {row.labels} labelled, {row.dataset}: {row.trials} trials, a line each; best {100 * (row.best or 0):.1f} % of the"
        f" validation cases with {best}{published}."
    )


def _file_name(row: Any) -> str:
    """A study's file: readable, and with the hash at the end of the study's name, its own."""
    parts = [row.dataset, row.protocol, row.method, str(row.labels)]
    return f"{safe_name('-'.join(parts))}-{row.study.rpartition(' ')[2]}"
