"""What ``tune`` shows at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from benchmark.commands.console import note, out, wrote

if TYPE_CHECKING:
    from benchmark.study.session import Session
    from benchmark.study.tuning import Tuner


def tell_of_tuning(tuner: Tuner, session: Session, over: bool) -> None:
    """Print what the studies found, write the report on tuning and put both into MLflow's run of the command; exit code 1 where a trial
    failed. over: the time has run out.
    """
    import pandas as pd

    from benchmark.records.table import collect
    from reports.tables.tuning import (
        fronts_to_terminal,
        studies_of,
        to_terminal,
        transfers_of,
        transfers_to_terminal,
        trials_of,
    )
    from reports.writing.tuning import write_tuning

    records = collect(tuner.store)
    found = trials_of(records)
    mine = found if found.empty else found[found["study"].isin(tuner.names())]
    studies = studies_of(mine)
    out.print(to_terminal(studies))
    out.print(fronts_to_terminal(mine), end="")
    if len(transfers := transfers_of(mine)):
        out.print(transfers_to_terminal(transfers))
    files, _ = write_tuning(records, tuner.store.report / "tuning")
    wrote(files)
    params: dict[str, object] = {}
    metrics: dict[str, float] = {}
    for row in studies.to_dict("records"):
        about = f"{row['method']} {row['labels']} labelled"
        params |= {f"{about}/{name}": value for name, value in row["hparams"].items()}
        metrics |= {f"{about}/{name}": float(row[name]) for name in ("published", "best") if not pd.isna(row[name])}
    session.track_summary(tuner.command, files, params, metrics)
    if over:
        note("the time is up; the same command goes on from here")
    if failed := tuner.failed():
        note(f"{failed} trials failed (`python -m benchmark ls cells` says why); the same command runs them again")
        raise typer.Exit(1)
