"""Cells on this machine: a few worker processes, each running one cell at a time.

A cell uses one CPU thread, so two cells side by side beat one cell on two threads, and results do not depend on the number of jobs.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.grid import Cell
from benchmark.workers import follow_parent

if TYPE_CHECKING:
    from benchmark.training import Progress

POLL_SECONDS = 0.2
_worker: dict[str, Any] = {}


def run_cells(
    cells: list[Cell],
    store: Path,
    device: str,
    jobs: int,
    tell: Callable[[Cell, Progress], None],
    finished: Callable[[Cell, str], None],
) -> None:
    """Run ``cells`` with ``jobs`` workers, in order. Calls ``tell`` on progress and ``finished`` with each outcome, in this process.

    Outcomes are those of ``run_cell``, and "killed" where a worker died.

    Raises:
        KeyboardInterrupt: after every running cell has written its checkpoint.
    """
    context = get_context("spawn")
    events, stop = context.Queue(), context.Event()
    by_id = {cell.id: cell for cell in cells}
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(events, stop, os.getpid()))
    futures: dict[Future[str], Cell] = {}

    def pass_on() -> None:
        while True:
            try:
                identity, progress = events.get_nowait()
            except queue.Empty:
                return
            tell(by_id[identity], progress)

    try:
        futures = {pool.submit(_run_in_worker, cell, store, device): cell for cell in cells}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            pass_on()
            for future in done:
                finished(futures[future], _outcome(future))
    except KeyboardInterrupt:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(future: Future[str]) -> str:
    try:
        return future.result()
    except BrokenProcessPool:
        return "killed"


def _start_worker(events: Any, stop: Any, parent: int) -> None:
    """Once a worker: keep the channel to the parent."""
    follow_parent(parent)
    _worker.update(events=events, stop=stop)


def _run_in_worker(cell: Cell, store: Path, device: str) -> str:
    from benchmark.experiment import run_cell
    from benchmark.store import Store
    from benchmark.training import Interrupted

    try:
        return run_cell(
            cell, Store(store), device, lambda progress: _worker["events"].put((cell.id, progress)), _worker["stop"].is_set
        )
    except Interrupted:
        return "interrupted"
