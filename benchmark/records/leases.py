"""Who holds a cell: a file in its folder that names the holder (host, process), who gives a sign of life every third of a lease.

A dead holder on this machine is seen at once; one elsewhere when the file has not changed for a lease by the clock of who waits, so that
clocks may differ. An older filelock leaves it to the operating system, which works on one machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import filelock

from benchmark.ground.errors import BadInput
from benchmark.ground.files import read_plain

LEASE_FILE = ".lease"
LEASE_BYTES = 4096
LEASE = "BENCHMARK_LEASE_SECONDS"
"""Environment variable: without a sign of life for this long, a cell's holder on another machine counts as dead."""

BUSY = (filelock.Timeout, getattr(filelock, "LeaseSettingsMismatch", filelock.Timeout))
"""What acquiring a lease raises where another has it, and where another of a different length came between reading and acquiring."""


class Hold:
    """A cell that this process holds. ``lost``: it was silent for so long (paused, cut off) that another process may have taken over."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    @property
    def lost(self) -> bool:
        """Whether to leave the cell alone from now on."""
        return getattr(self._lock, "compromise", None) is not None


def lease(path: Path) -> Any:
    """The lock of which ``path`` is the file, not taken."""
    if hasattr(filelock, "SoftFileLease"):
        return filelock.SoftFileLease(path, lease_duration=_seconds(path), thread_local=False)
    return filelock.FileLock(path, thread_local=False)


def is_held(path: Path) -> bool:
    """Whether a process holds the lease: a copy of it is asked, so that nothing is taken or written beside it.

    An older filelock leaves it to the operating system, which can only be asked by taking it. Where there is no place for a copy, a
    cell with a lease counts as held.
    """
    if not path.is_file():
        return False
    with contextlib.suppress(OSError, *BUSY), contextlib.ExitStack() as stack:
        if hasattr(filelock, "SoftFileLease"):
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory()), LEASE_FILE)
            copy.write_bytes(read_plain(path, LEASE_BYTES))
            path = copy
        lock = lease(path)
        lock.acquire(timeout=0)
        lock.release()
        return False
    return True


def _seconds(path: Path) -> float:
    """The length that the lease at ``path`` names, for all who want a cell must go by the same; that of LEASE or 60 where there is none."""
    with contextlib.suppress(OSError, ValueError):
        named = re.search(r"^duration=([\d.]+)$", read_plain(path, LEASE_BYTES).decode(), re.MULTILINE)
        if named and float(named[1]) > 0:
            return float(named[1])
    text = os.environ.get(LEASE, "60")
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not float(text):
        raise BadInput(f"{LEASE} is {text!r}; expected seconds, such as 60")
    return float(text)
