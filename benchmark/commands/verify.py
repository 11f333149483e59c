"""``verify``: prove a store."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err, escaped, note, out, stoppable
from benchmark.commands.options import (
    DataOption,
    DeviceOption,
    PluginOption,
    StoreOption,
)


@command(
    epilog="Examples:\n\n`python -m benchmark verify --store runs`\n\n"
    "`python -m benchmark verify --store runs --sample 10 --data acdc.h5`"
)
def verify(
    store: StoreOption = Path("runs"),
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only this many finished cells, drawn at random, the same each time.")
    ] = None,
    data: DataOption = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Prove a store: checksums, hashes, and every score predicted again from the weights; exit code 1 where something does not hold."""
    from benchmark.ground.environment import pick_device
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay
    from benchmark.study.verification import finished
    from benchmark.study.verification import verify as prove

    opened, wrong = Store(store), 0
    folders = finished(opened, sample)
    if sample:
        note(f"drawn of the finished cells: {', '.join(folder.path.name for folder in folders)}")
    with StageDisplay(err, "verifying", "cells") as stage, stoppable():
        for verdict in prove(opened, folders, data, pick_device(device), stage.tell):
            wrong += bool(verdict.problems)
            state = "[red]does not hold[/]" if verdict.problems else "[green]holds[/]"
            out.print(f"{state}  {escaped(verdict)}", highlight=False, soft_wrap=True)
            for problem in verdict.problems:
                out.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"{len(folders) - wrong} of {len(folders)} cells hold", highlight=False)
    if wrong:
        raise typer.Exit(1)
