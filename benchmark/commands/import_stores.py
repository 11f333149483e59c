"""``import``: the cells of other stores, brought into one."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err
from benchmark.commands.export import exchanged
from benchmark.commands.options import (
    StoreOption,
)


@command(
    "import",
    epilog="Examples:\n\n`python -m benchmark import results --store runs`\n\n"
    "`python -m benchmark import laptop cluster --store all`",
)
def import_stores(
    sources: Annotated[list[Path], typer.Argument(help="Stores or exports, folders or files, to take cells from.")],
    store: StoreOption = Path("runs"),
) -> None:
    """Bring the cells of other stores into one; what contradicts what is there (same cell and code, other numbers) is named and refused."""
    from benchmark.records.exchange import merge
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay

    refused = False
    for source in sources:
        with StageDisplay(err, f"importing {source}", "cells") as stage:
            outcome = merge(source, Store(store), stage.tell)
        refused |= exchanged(outcome, store)
    if refused:
        raise typer.Exit(1)
