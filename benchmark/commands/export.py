"""``export``: the records of a store, small enough for git."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err, note, out
from benchmark.commands.options import (
    StoreOption,
)

if TYPE_CHECKING:
    from benchmark.records.exchange import Outcome


class Form(StrEnum):
    """What an export is."""

    records = "records"
    parquet = "parquet"
    tensorboard = "tensorboard"


@command(
    epilog="Examples:\n\n`python -m benchmark export --store runs --out results`\n\n"
    "`python -m benchmark report --store results`\n\n"
    "`python -m benchmark export --store runs --out results.parquet --to parquet`\n\n"
    "`python -m benchmark export --store runs --out events --to tensorboard`"
)
def export(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Where to write; an earlier export there is brought up to date, a file written anew.")
    ],
    store: StoreOption = Path("runs"),
    to: Annotated[
        Form, typer.Option(help="records: folders; parquet: one file of them; tensorboard: event files of curves and scores.")
    ] = Form.records,
) -> None:
    """Copy the records of a store, without weights, caches and pictures: small enough for git, and a store to report, track and run."""
    if to is Form.tensorboard:
        _to_tensorboard(store, out_folder)
        return
    from benchmark.records.exchange import export as copy
    from benchmark.records.exchange import pack
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay

    with StageDisplay(err, "exporting", "cells") as stage:
        outcome = (pack if to is Form.parquet else copy)(Store(store), out_folder, stage.tell)
    if exchanged(outcome, out_folder):
        raise typer.Exit(1)


def _to_tensorboard(store: Path, out_folder: Path) -> None:
    from benchmark.records.store import Store
    from benchmark.records.tensorboard import to_tensorboard
    from benchmark.study.display import StageDisplay

    with StageDisplay(err, "exporting", "cells") as stage:
        written, problems = to_tensorboard(Store(store), out_folder, stage.tell)
    for problem in problems:
        note(f"left out: {problem}")
    out.print(f"{written} cells; tensorboard --logdir {shlex.quote(str(out_folder))}", highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def exchanged(outcome: Outcome, where: Path) -> bool:
    """Tell what an export or import did; returns whether it refused anything."""
    for problem in outcome.refused:
        note(f"refused: {problem}")
    out.print(f"{where}: {outcome}", highlight=False, markup=False, soft_wrap=True)
    return bool(outcome.refused)
