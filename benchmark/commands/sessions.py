"""From options to a session: what the commands that run cells share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from benchmark.commands.console import command_line, err, note, out, stoppable
from benchmark.commands.groups import Finished, Runs, Where
from benchmark.commands.options import LauncherChoice, Stale
from benchmark.commands.rules import rules_of
from benchmark.ground.errors import BadInput

if TYPE_CHECKING:
    from benchmark.launchers.site import Site
    from benchmark.records.identity import Cell
    from benchmark.study.grid import Selection
    from benchmark.study.session import Finished as Fate
    from benchmark.study.session import Session


def session_of(
    asked: Runs, selections: Callable[[], list[Selection]], where: Where, finished: Finished, said: str | None = None
) -> Session:
    """The grid that the options of ``run`` and ``ablate`` name. Options are checked first, cheapest checks before heavy imports.

    said: the words that asked for it, for records; None: the command line's.

    Raises:
        BadInput: an option, the dataset or the store is not in order.
    """
    from benchmark.ground.registry import check_name
    from benchmark.study import grid

    site = site_of(where)
    if finished.again and finished.stale is Stale.keep:
        raise BadInput("--again runs finished cells again and --stale keep uses them as they are; expected one of the two")
    protocol = rules_of(asked.protocol, asked.precision, site)
    check_name("datasets", asked.dataset)
    pairs = grid.parse_runs(asked.runs, asked.draws, asked.seeds)
    variants = selections()

    from benchmark.records.store import Store
    from benchmark.study.preparation import hash_for_plan, prepare_shown
    from datasets.folds import fewest_training, folds_of
    from datasets.preparing import open_dataset

    opened = open_dataset(asked.dataset, asked.data)
    folds = folds_of(opened, asked.folds)
    budgets = grid.parse_labels(asked.labels, fewest_training(opened, folds))
    begin = opener(where, site, finished)
    store, contents = Store(where.store), None
    if finished.dry_run:
        contents = hash_for_plan(opened, store, err)
    else:
        prepare_shown(asked.dataset, asked.data, store, err)  # its hash, part of every cell, is known then
    return begin(grid.expand(opened, variants, budgets, pairs, protocol, said or command_line(), folds, contents))


def opener(where: Where, site: Callable[[], Site], finished: Finished | None = None) -> Callable[[list[Cell]], Session]:
    """What makes a session of cells; the device and the tracker that it will use are checked at once."""
    from benchmark.records.tracking_place import where_installed
    from benchmark.study.session import Session

    at, tracking = site(), where_installed(where.tracking, note)
    fate: Fate = "again" if finished and finished.again else finished.stale.value if finished else "renew"
    return lambda cells: Session(cells, where.store, at, tracking, err, fate, where.experiment)


def site_of(where: Where) -> Callable[[], Site]:
    """Where cells run; made when all else has been checked, for a device needs torch.

    Raises:
        BadInput: options that do not go together.
    """
    from benchmark.launchers.site import Site, parse_cluster

    launcher = where.launcher
    for option, value, belongs in (
        ("--slurm", where.slurm, LauncherChoice.slurm),
        ("--ray", where.ray, LauncherChoice.ray),
    ):
        if value and launcher is not belongs:
            raise BadInput(f"{option} belongs to --launcher {belongs.value}; found --launcher {launcher.value}")
    given = {"address": where.ray} if where.ray else {}
    cluster = parse_cluster("--slurm", where.slurm) if launcher is LauncherChoice.slurm else given

    def site() -> Site:
        from benchmark.ground.environment import pick_device

        remote = launcher in (LauncherChoice.slurm, LauncherChoice.ray)
        device = where.device if remote else pick_device(where.device)
        return Site(device, launcher.value, where.jobs, where.cells_per_gpu, cluster)

    return site


def carry_out(session: Session, dry_run: bool) -> int:
    """Run the grid, or print its plan and leave; returns how many cells did not end well."""
    if dry_run:
        out.print(session.plan())
        raise typer.Exit
    with stoppable():
        return session.run()
