"""What ran a cell: versions, revision, device; and the switches that make it deterministic."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput, quoted

ROOT = Path(__file__).resolve().parents[2]
CGROUP = Path("/sys/fs/cgroup")
"""Where a container's limits stand."""
CONTEXT_MB = 600
"""What a process takes of a GPU besides tensors, about."""

PACKAGES = ("torch", "monai", "numpy", "scipy", "pandas")


def pick_device(name: str) -> str:
    """``auto`` becomes cuda where there is one, else cpu.

    Raises:
        BadInput: the device is not one that torch has here.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError):
        raise BadInput(f"--device: {quoted(name)} is not available here; expected auto, cpu, cuda or cuda:N") from None
    return name


def make_deterministic() -> None:
    """One thread a cell on CPUs (sums then do not depend on the machine's cores) and deterministic kernels everywhere."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    one_thread()
    torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, less a second's import of torch's compiler
    # A guard for debugging that costs a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


@cache
def describe(device: str) -> dict[str, Any]:
    """Versions, git revision, platform and device, for the record."""
    import torch

    return {
        "python": sys.version.split()[0],
        **{package: metadata.version(package) for package in PACKAGES},
        "platform": platform.platform(terse=True),
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "host": socket.gethostname(),
        "process": os.getpid(),
        "revision": _revision(),
    }


def _revision() -> str:
    """The checkout's git revision, with ``+`` where files differ from it; "unknown" outside a checkout."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def reset_peak_memory(device: str) -> None:
    """Start counting peak memory anew (per process on Linux, per device on CUDA)."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak_memory_mb(device: str) -> float:
    """Peak memory since ``reset_peak_memory``, MB: the device's on CUDA, else this process's resident set."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def gpu_memory(device: str) -> list[float] | None:
    """MB that this process has needed of the GPU at most, its CUDA context included, and MB that the GPU has; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return [
        torch.cuda.max_memory_reserved(device) / 1e6 + CONTEXT_MB,
        torch.cuda.get_device_properties(device).total_memory / 1e6,
    ]


@cache
def processor() -> str:
    """The processor's model where the system tells it, else its kind: another one rounds otherwise, and trains to other numbers."""
    with suppress(OSError, UnicodeDecodeError):
        lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines())
        if found := next((value.strip() for key, _, value in lines if key.strip() == "model name"), ""):
            return found
    return platform.processor() or platform.machine()


def free_memory() -> float:
    """Bytes that this machine, or the container that this process is in, can still give."""
    found = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * float(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))))
    with suppress(OSError, ValueError, KeyError):  # "max" where there is no limit
        limit, used = (float((CGROUP / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
        details = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        found.append(limit - used + float(details["inactive_file"]))  # of files that were read: given up where it is needed
    return min(found)


def one_thread() -> None:
    """Let torch use one core: small tensors are faster so, and several processes share a machine."""
    import torch

    torch.set_num_threads(1)
