"""Cells as array jobs of a SLURM cluster: submitit submits them, the store says how they ended.

A job that is preempted or comes to its time limit writes a checkpoint and is queued again; nothing of the command has to stay alive for
that. This process watches: squeue (which needs no accounting database) for jobs that are gone, the store for what they left behind.
"""

from __future__ import annotations

import logging
import subprocess
import time
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import BadInput
from benchmark.ground.stopping import Stop
from benchmark.launchers.site import Site
from benchmark.launchers.task import run_task
from benchmark.launchers.work import LOOK_SECONDS, Work

if TYPE_CHECKING:
    from benchmark.records.identity import Cell

ASK_SECONDS = 5.0
PROBE = ".probe"
GRACE_SECONDS = 60.0
"""From the signal before a time limit to the limit: enough for a step, a validation and a checkpoint."""


def run(work: Work, site: Site, stop: Stop) -> None:
    """Submit all cells and wait for them.

    Raises:
        BadInput: submitit or SLURM is not here, or refuses an option.
        DiskFull: a cell ended without a word, and nothing can be written.
    """
    executor = _executor(work, site)
    jobs: dict[str, Cell] = {}
    asked = 0.0
    stopping = False
    try:
        while work.open:
            if stop() and not stopping:
                stopping = True
                work.drop()
                _scancel("--state=PENDING", list(jobs))
                _scancel("--signal=TERM", list(jobs))
            cells = list(iter(work.take, None))
            if cells:
                jobs |= dict(zip(_submit(executor, cells, work, site), cells, strict=True))
            time.sleep(LOOK_SECONDS)
            if time.monotonic() - asked > ASK_SECONDS:
                there = _queued(jobs)
                asked = time.monotonic()
                for job in [job for job in jobs if job not in there]:
                    cell = jobs.pop(job)
                    work.ended(cell, _outcome(cell, work, stopping), was_alone=True)
            work.look()
    except BaseException:
        _scancel("--quiet", list(jobs))
        raise


def _executor(work: Work, site: Site) -> Any:
    try:
        import submitit
    except ImportError:
        raise BadInput("--launcher slurm needs the package submitit; install the project with its extra: cluster") from None
    logging.getLogger("submitit").setLevel(logging.ERROR)
    options = {
        {"time": "timeout_min", "cpus": "cpus_per_task"}.get(key, f"slurm_{key}"): int(value) if value.isdigit() else value
        for key, value in site.cluster.items()
    }
    if site.device.startswith("cuda") and not any("gpu" in f"{key}={value}" for key, value in options.items()):
        options["gpus_per_node"] = 1
    if site.jobs:
        options["slurm_array_parallelism"] = site.jobs
    more = {"slurm_additional_parameters": {"requeue": True}, "slurm_signal_delay_s": int(GRACE_SECONDS)}
    try:
        executor = submitit.AutoExecutor(folder=work.store.root / "slurm" / "%j", cluster="slurm")
        executor.update_parameters(**({"name": "benchmark", "timeout_min": 24 * 60, "cpus_per_task": 1} | more | options))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise BadInput(
            f"--slurm: {text}; expected options of submitit's SLURM executor such as partition=gpu,time=120"
        ) from None
    return executor


def _submit(executor: Any, cells: list[Cell], work: Work, site: Site) -> list[str]:
    """Submit cells as one array; returns the jobs' numbers."""
    try:
        with executor.batch():
            jobs = [executor.submit(run_task, cell, work.store.root.resolve(), site.device) for cell in cells]
        return [job.job_id for job in jobs]
    except Exception as error:  # submitit's FailedJobError and what sbatch says
        text = " ".join(str(error).split())
        raise BadInput(f"--launcher slurm: sbatch refused the cells ({text[-300:]}); check --slurm") from error


def _queued(jobs: dict[str, Cell]) -> set[str]:
    """Those of the jobs that wait or run; all of them while SLURM does not answer."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays:
        return set()
    command = ["squeue", "--noheader", "--array", "--format=%i %F_%K", f"--jobs={','.join(arrays)}"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return set(jobs)
    return {name for line in asked.stdout.splitlines() for name in line.split()}


def _outcome(cell: Cell, work: Work, stopping: bool) -> str:
    """How a job that is gone ended, from what lies in the store."""
    folder = work.store.folder(cell)
    if folder.done(replaces=cell.replaces):
        return "done"
    if folder.record() is not None:
        return "failed"
    with folder.lock() as hold:
        if hold is None:
            return "busy"
        folder.write(PROBE, bytes(65536))
        folder.clear(PROBE)
        return "interrupted" if stopping else "killed"


def _scancel(option: str, jobs: list[str]) -> None:
    if jobs:
        subprocess.run(["scancel", option, *jobs], capture_output=True, check=False)
