"""A cell as a task of a cluster, in a process that the cluster starts, signals and ends."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from benchmark.records.identity import Cell


def run_task(cell: Cell, store: Path, device: str) -> str:
    """Run one cell; returns its outcome, "interrupted" after a signal, "disk full".

    SIGTERM and SIGINT: the checkpoint is written and the task ends; a cluster that preempts it queues it again itself. SIGUSR2, which SLURM
    sends shortly before the time limit: the task also asks to be queued again, and goes on from there.
    """
    from benchmark.cell.experiment import run_cell
    from benchmark.cell.training import Interrupted
    from benchmark.ground.environment import pick_device
    from benchmark.ground.errors import DiskFull
    from benchmark.ground.stopping import SIGNALS, Stop
    from benchmark.records.store import Store

    with Stop(*SIGNALS, signal.SIGUSR2) as stop:
        try:
            return run_cell(cell, Store(store), pick_device(device), stopping=stop)
        except Interrupted:
            if stop.received == signal.SIGUSR2:
                _queue_again()
            return "interrupted"
        except DiskFull:
            return "disk full"


def _queue_again() -> None:
    """Have SLURM queue this job, or task of an array, once more."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
    if job:
        subprocess.run(["scontrol", "requeue", job], check=True)
