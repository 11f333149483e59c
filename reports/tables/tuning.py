"""What tuning found, from the records of its trials alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.tables.comparable import rows_of, titled

if TYPE_CHECKING:
    from benchmark.records.table import Records

NOTE = (
    "Best is the highest of many noisy scores on few validation cases, so its gain over the published values is optimistic;"
    " `run --hparams tuned` says on the test cases what it is worth."
)
COLUMNS = [
    *["dataset", "protocol", "labels", "method", "sampler", "trials", "pruned", "failed", "steps", "seconds"],
    *["published", "best", "hparams", "study"],
]


def trials_of(records: Records) -> pd.DataFrame:
    """The long table: a row per trial, finished or failed, in order. ``score``: DSC of the last weights on the validation cases.

    Columns study, dataset, protocol, protocol_title, labels, method (the variant that is tuned), sampler, number, outcome (done, pruned or
    failed), score, steps, seconds, hparams (those searched), searched.
    """
    cells = records.cells[records.cells["kind"] == "trial"]
    cells = cells.assign(protocol_title=titled(cells))
    rows = []
    for cell in cells.to_dict("records"):
        trial, done = cell["trial"], cell["outcome"] == "done"
        rows.append(
            {
                **{name: cell[name] for name in ("dataset", "protocol", "protocol_title", "labels")},
                **{"study": trial["study"], "method": trial["of"], "sampler": trial["sampler"], "number": trial["number"]},
                "outcome": "pruned" if done and cell["steps_done"] < cell["steps"] else cell["outcome"],
                "score": cell["validation_last"] if done else np.nan,
                "steps": int(cell["steps_done"]) if done else 0,
                "seconds": cell["seconds"] if done else 0.0,
                "hparams": {name: cell["hparams"][name] for name in trial["searched"]},
                "searched": trial["searched"],
            }
        )
    return pd.DataFrame(rows).sort_values(["labels", "study", "number"]).reset_index(drop=True) if rows else pd.DataFrame()


def studies_of(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per study (COLUMNS): what was spent, the score of the published values and of the best, the best hparams."""
    rows = []
    for study, part in trials.groupby("study", sort=False):
        first, whole = part.iloc[0], part[part["outcome"] == "done"]
        best = whole.iloc[int(whole["score"].to_numpy().argmax())] if len(whole) else None
        published = whole.loc[whole["number"] == 0, "score"]
        counts = {name: int((part["outcome"] == name).sum()) for name in ("pruned", "failed")}
        rows.append(
            {
                **{name: first[name] for name in ("dataset", "protocol", "labels", "method", "sampler")},
                **{"trials": len(part) - counts["failed"], **counts, "study": study},
                **{"steps": int(part["steps"].sum()), "seconds": round(float(part["seconds"].sum()), 1)},
                "published": float(published.iloc[0]) if len(published) else None,
                "best": None if best is None else float(best["score"]),
                "hparams": {} if best is None else best["hparams"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def to_terminal(studies: pd.DataFrame) -> Group:
    """A row per study, for rich to print."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Labels", "Method", "Trials", "Steps", "Published", "Best", "Best hyper-parameters"):
        grid.add_column(name, justify="left" if name in ("Method", "Best hyper-parameters") else "right", overflow="fold")
    for row in rows_of(studies):
        values = ", ".join(f"{name}={value:.3g}" for name, value in row.hparams.items())
        best = "the published ones" if row.published is not None and row.published == row.best else values
        extra = [f"{count} {what}" for count, what in ((row.pruned, "pruned"), (row.failed, "failed")) if count]
        trials = f"{row.trials}" + (f" ({', '.join(extra)})" if extra else "")
        grid.add_row(str(row.labels), row.method, trials, str(row.steps), _percent(row.published), _percent(row.best), best)
    title = "tuning: validation DSC % of the last weights; the same steps for each method and budget"
    return Group(Text(title, style="bold"), grid, Text(NOTE, style="dim"), Text())


def _percent(score: float | None) -> str:
    return "-" if score is None or np.isnan(score) else f"{100 * score:.1f}"
