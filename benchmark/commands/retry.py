"""``retry``: run again what a store holds unfinished."""

from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import command_line, err, stoppable
from benchmark.commands.groups import Where
from benchmark.commands.options import DataOption, PluginOption
from benchmark.commands.sessions import opener, site_of
from benchmark.ground.errors import BadInput

if TYPE_CHECKING:
    from benchmark.records.identity import Cell


@command(
    epilog="Examples:\n\n`python -m benchmark retry --failed --store runs`\n\n`python -m benchmark retry --stale --store runs`\n\n"
    "`python -m benchmark retry --store runs --launcher slurm --slurm partition=gpu,time=120`"
)
def retry(
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed; else all that are not done.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Only finished ones that other code made.")] = False,
    data: DataOption = None,
    where: Where,
    plugin: PluginOption = None,
) -> None:
    """Run again what failed, was cut off or is damaged, whichever commands asked for it, from the last good checkpoints."""
    if failed and stale:
        raise BadInput("--failed and --stale each choose cells alone; expected one of the two")
    site = site_of(where)

    from benchmark.records.status import statuses
    from benchmark.records.store import Store

    states = ("failed",) if failed else ("outdated",) if stale else ("failed", "damaged", "to do")
    chosen = [s for s in statuses(Store(where.store))[0] if s.state in states]
    if not chosen:
        what = "is of other code" if stale else "has failed" + ("" if failed else ", was cut off or is damaged")
        err.print(f"nothing to do: no cell of {where.store} {what}", soft_wrap=True)
        return
    by_dataset: dict[str, list[Cell]] = {}
    for status in chosen:
        cell = status.folder.cell().model_copy(update={"data": data, "command": command_line()})
        by_dataset.setdefault(cell.data_hash, []).append(cell)
    begin = opener(where, site)
    with stoppable():
        left = sum(begin(cells).run() for cells in by_dataset.values())
    if left:
        raise typer.Exit(1)
