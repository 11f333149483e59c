"""Cells as tasks of a Ray cluster: one that is there (``--ray HOST:PORT``), or one that Ray starts on this machine.

Ray finds a CPU core, or a GPU or a share of one, for each; a cell whose worker or node is lost comes again.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import BadInput, DiskFull
from benchmark.ground.stopping import Stop
from benchmark.launchers.site import Site
from benchmark.launchers.task import run_task
from benchmark.launchers.work import LOOK_SECONDS, Work

if TYPE_CHECKING:
    from benchmark.records.identity import Cell

ROOT = Path(__file__).resolve().parents[2]
QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


def run(work: Work, site: Site, stop: Stop) -> None:
    """Run all cells as tasks, ``site.jobs`` at once or as many as the cluster has room for.

    Raises:
        BadInput: Ray is not here, or the cluster does not answer.
        DiskFull: a cell could not write.
    """
    ray = _connect(site)
    try:
        gpus = 1 / (site.cells_per_gpu or 1) if site.device.startswith("cuda") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(run_task)
        store = work.store.root.resolve()
        jobs: dict[Any, Cell] = {}
        stopping = False
        while work.open:
            if stop() and not stopping:
                stopping = True
                work.drop()
                for job in jobs:
                    ray.cancel(job, force=False)
            while site.jobs is None or len(jobs) < site.jobs:
                cell = work.take()
                if cell is None:
                    break
                jobs[task.remote(cell, store, site.device)] = cell
            for job in ray.wait(list(jobs), timeout=LOOK_SECONDS)[0] if jobs else []:
                work.ended(jobs.pop(job), _outcome(ray, job, work), was_alone=True)
            work.look()
    finally:
        ray.shutdown()


def _connect(site: Site) -> Any:
    try:
        import ray
    except ImportError:
        raise BadInput("--launcher ray needs the package ray; install the project with its extra: cluster") from None
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    address = site.cluster.get("address")
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else site.local_jobs,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadInput(f"--ray: no cluster answers at {address} ({error}); expected HOST:PORT of its head node") from error
    return ray


def _outcome(ray: Any, job: Any, work: Work) -> str:
    """How a task ended; a lost worker or node is "killed", a task that was stopped before it began "interrupted"."""
    try:
        outcome = ray.get(job)
    except (ray.exceptions.TaskCancelledError, KeyboardInterrupt):
        return "interrupted"
    except ray.exceptions.RayError as error:
        with contextlib.suppress(AttributeError):
            if isinstance(error.cause, KeyboardInterrupt):
                return "interrupted"
        return "killed"
    if outcome == "disk full":
        raise DiskFull(
            f"a cell could not write into {work.store.root}: its disk is full; free some space and repeat the command"
        )
    return outcome
