"""``export``: the records of a store, small enough for git."""

from __future__ import annotations

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


@command(
    epilog="Examples:\n\n`python -m benchmark export --store runs --out results`\n\n"
    "`python -m benchmark report --store results`"
)
def export(
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write; an earlier export there is brought up to date.")],
    store: StoreOption = Path("runs"),
) -> None:
    """Copy the records of a store, without weights, caches and pictures: small enough for git, and a store to report, track and run."""
    from benchmark.records.exchange import export as copy
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay

    with StageDisplay(err, "exporting", "cells") as stage:
        outcome = copy(Store(store), out_folder, stage.tell)
    if exchanged(outcome, out_folder):
        raise typer.Exit(1)


def exchanged(outcome: Outcome, where: Path) -> bool:
    """Tell what an export or import did; returns whether it refused anything."""
    for problem in outcome.refused:
        note(f"refused: {problem}")
    out.print(f"{where}: {outcome}", highlight=False, markup=False, soft_wrap=True)
    return bool(outcome.refused)
