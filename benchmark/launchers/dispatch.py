"""Cells to the launcher of their site."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.stopping import Stop
from benchmark.launchers.site import Site
from benchmark.launchers.work import Work

if TYPE_CHECKING:
    from benchmark.cell.training import Progress
    from benchmark.records.identity import Cell


def run_cells(
    cells: list[Cell],
    store: Path,
    site: Site,
    tell: Callable[[Cell, Progress], None],
    finished: Callable[[Cell, str], None],
) -> None:
    """Run ``cells``, in order as far as it goes. Calls ``tell`` on progress and ``finished`` with how each ended, in this process.

    Outcomes are those of ``run_cell``, "interrupted" where it was asked to stop, and "killed" where workers died again and again.

    Raises:
        Stopped: Ctrl-C or SIGTERM; every running cell has written its checkpoint, or, at the second one, was ended at once.
        DiskFull: nothing more can be written.
        BadInput: the cluster cannot be used.
    """
    launcher: Any = import_module(f"benchmark.launchers.{site.launcher}")
    with Stop() as stop:
        work = Work(cells, store, tell, finished)
        launcher.run(work, site, stop)
        stop.check()
