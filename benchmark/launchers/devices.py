"""Cells in worker processes on this machine: side by side on its CPU cores, or on its GPUs, several on one where they fit.

On a CPU a cell uses one thread, so two cells side by side beat one cell on two threads, and results do not depend on the number of jobs.
"""

from __future__ import annotations

import contextlib
import os
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import DiskFull
from benchmark.ground.stopping import Stop
from benchmark.ground.workers import cores, follow_parent
from benchmark.launchers.site import POLL_SECONDS, Site
from benchmark.launchers.work import Work

if TYPE_CHECKING:
    from benchmark.records.identity import Cell

ROOM = 0.9
"""Share of a GPU's memory that cells may need together."""


class _Worker:
    """A process that runs cells on one device, one at a time."""

    def __init__(self, context: Any, store: Path, device: str) -> None:
        self.device = device
        self.cell: Cell | None = None
        self.alone = False
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, store, device, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, cell: Cell, alone: bool) -> None:
        self.cell, self.alone = cell, alone
        self._send(cell)

    def stop(self) -> None:
        """Have it write a checkpoint and let go of its cell."""
        self._send(None)

    def _send(self, message: Cell | None) -> None:
        with contextlib.suppress(OSError):  # it has died: its outcome says so
            self.pipe.send(message)

    def outcome(self) -> str | DiskFull | None:
        """How the cell ended; None while it runs."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None if self.process.is_alive() else "killed"
        except (EOFError, OSError):
            return "killed"

    def end(self) -> None:
        """Have it go: an idle worker by itself, one that still runs a cell at once."""
        self.pipe.close()
        if self.cell is None:
            self.process.join(POLL_SECONDS)
        self.process.kill()
        self.process.join()


def run(work: Work, site: Site, stop: Stop) -> None:
    """Run all cells; a worker that dies is replaced and its cell goes on from its checkpoint.

    Raises:
        DiskFull: after every running cell has come to an end.
    """
    context, workers = get_context("spawn"), list[_Worker]()
    full: DiskFull | None = None
    stopping = False
    limits = Limits(site)
    try:
        while work.open:
            if (stop() or full) and not stopping:
                stopping = True
                for worker in workers:
                    worker.stop()
            if stopping:
                work.drop()
            for device, alone in limits.free(work, workers):
                cell = work.take(alone)
                if cell is None:
                    break
                idle = next((w for w in workers if w.device == device and w.cell is None and w.process.is_alive()), None)
                if idle is None:
                    idle = _Worker(context, work.store.root, device)
                    workers.append(idle)
                idle.give(cell, alone)
            busy = [worker for worker in workers if worker.cell is not None]
            wait([waited for w in busy for waited in (w.pipe, w.process.sentinel)], timeout=POLL_SECONDS)
            for worker in busy:
                outcome = worker.outcome()
                if outcome is None or worker.cell is None:
                    continue
                cell, worker.cell = worker.cell, None
                if isinstance(outcome, DiskFull):
                    full, outcome = outcome, "interrupted"
                if outcome == "killed":
                    worker.end()
                    workers.remove(worker)
                work.ended(cell, outcome, worker.alone)
            work.look()
    finally:
        for worker in workers:
            worker.end()
    if full:
        raise full


class Limits:
    """How many cells each device takes: ``jobs`` on a CPU; on a GPU ``cells_per_gpu``, or what its memory holds, going by its cells."""

    def __init__(self, site: Site) -> None:
        self.site, self.devices = site, site.devices()
        self.jobs = site.jobs or cores()
        self.fit = dict.fromkeys(self.devices, self.jobs if site.device == "cpu" else site.cells_per_gpu or 1)

    def free(self, work: Work, workers: list[_Worker]) -> list[tuple[str, bool]]:
        """(device, alone) of the places for a further cell, best first. A cell that needs to be alone keeps others off its device."""
        running = {device: [w for w in workers if w.device == device and w.cell is not None] for device in self.devices}
        if self.site.device != "cpu" and self.site.cells_per_gpu is None:
            for device, (needed, there) in work.memory().items():
                self.fit[device] = max(1, int(ROOM * there / needed))
        places: list[tuple[str, bool]] = []
        for device, cells in sorted(running.items(), key=lambda item: len(item[1])):
            if work.alone and not cells:
                places.append((device, True))
            elif not work.alone and not any(worker.alone for worker in cells):
                places += [(device, False)] * (self.fit[device] - len(cells))
        return places[: self.jobs - sum(map(len, running.values()))]


def _serve(pipe: Connection, store: Path, device: str, parent: int) -> None:
    """A worker's life: take a cell, run it, say how it ended. Anything else that comes while a cell runs means: stop."""
    follow_parent(parent)

    from benchmark.cell.experiment import run_cell
    from benchmark.cell.training import Interrupted
    from benchmark.records.store import Store

    while True:
        try:
            cell = pipe.recv()
        except (EOFError, OSError):
            return
        if cell is None:
            continue
        try:
            outcome: str | DiskFull = run_cell(cell, Store(store), device, stopping=pipe.poll)
        except Interrupted:
            outcome = "interrupted"
        except DiskFull as error:
            outcome = error
        with contextlib.suppress(OSError):  # the parent is gone
            pipe.send(outcome)
