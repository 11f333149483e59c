"""Cells one after the other in this process: for debuggers, and where processes cannot be started."""

from __future__ import annotations

import time
from functools import partial

from benchmark.ground.stopping import Stop
from benchmark.launchers.site import POLL_SECONDS, Site
from benchmark.launchers.work import Work


def run(work: Work, site: Site, stop: Stop) -> None:
    """Run all cells on the first device."""
    from benchmark.cell.experiment import run_cell
    from benchmark.cell.training import Interrupted

    device = site.devices()[0]
    while work.open and not stop():
        cell = work.take() or work.take(alone=True)
        if cell is None:
            time.sleep(POLL_SECONDS)
        else:
            try:
                outcome = run_cell(cell, work.store, device, partial(work.tell, cell), stop)
            except Interrupted:
                outcome = "interrupted"
            work.ended(cell, outcome, was_alone=True)
        work.look()
