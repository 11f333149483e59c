"""Where cells run. A cell is idempotent and the store is the truth: a launcher only decides who runs which cell, and when.

inline: this process, one cell after the other. devices: worker processes on this machine's CPU cores or GPUs. slurm: array jobs of a
cluster. ray: tasks of a Ray cluster. Several commands, on several machines, may work on one store: a cell that another has is waited for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.ground.errors import BadInput, quoted

if TYPE_CHECKING:
    from benchmark.cell.training import Progress
    from benchmark.launchers.work import Work
    from benchmark.records.identity import Cell

Launcher = Literal["inline", "devices", "slurm", "ray"]
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Site:
    """Where cells run, and how many at once.

    device: "cpu", "cuda" (all GPUs that are seen) or "cuda:N"; on a cluster "auto" is decided where the cell runs.
    jobs: cells at once; None: as many as there are CPU cores, or as fit on the GPUs. cells_per_gpu: None: by memory. cluster: options of
    ``--slurm``, or the address of ``--ray``.
    """

    device: str = "cpu"
    launcher: Launcher = "devices"
    jobs: int | None = None
    cells_per_gpu: int | None = None
    cluster: Mapping[str, str] = field(default_factory=dict)

    @property
    def remote(self) -> bool:
        """Whether cells run on other machines than this one."""
        return self.launcher in ("slurm", "ray")

    @property
    def local_jobs(self) -> int:
        """How many processes this machine may use for what is done before cells run."""
        return self.jobs if self.jobs and not self.remote else os.cpu_count() or 1

    @property
    def at_once(self) -> int:
        """About how many cells run at once, for estimates."""
        if self.jobs or self.launcher == "inline":
            return self.jobs or 1
        return len(self.devices()) * (self.cells_per_gpu or 1) if self.device.startswith("cuda") else self.local_jobs

    def devices(self) -> list[str]:
        """The devices of this machine that are used."""
        if self.device != "cuda":
            return [self.device]
        import torch

        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]


def parse_cluster(option: str, text: str | None) -> dict[str, str]:
    """The key=value pairs of a comma list.

    Raises:
        BadInput: a part is no pair.
    """
    pairs = dict(part.strip().partition("=")[::2] for part in (text or "").split(",") if part.strip())
    for key, value in pairs.items():
        if not key.isidentifier() or not value:
            raise BadInput(
                f"{option}: cannot read {quoted(text or '')}; expected pairs such as partition=gpu,time=120,gres=gpu:1"
            )
    return pairs


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
    from benchmark.ground.stopping import Stop
    from benchmark.launchers.work import Work

    launcher: Any = import_module(f"benchmark.launchers.{site.launcher}")
    with Stop() as stop:
        work: Work = Work(cells, store, tell, finished)
        launcher.run(work, site, stop)
        stop.check()
