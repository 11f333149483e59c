"""Where cells run, and how many at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmark.ground.errors import BadInput, quoted
from benchmark.ground.workers import cores

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
        return self.jobs if self.jobs and not self.remote else cores()

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
