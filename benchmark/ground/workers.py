"""How many worker processes there may be, and how each behaves: it leaves Ctrl-C to its parent, and ends when its parent is gone."""

from __future__ import annotations

import os
import signal
import threading
import time


def cores() -> int:
    """CPU cores that this process may use: a job of a cluster has some of its machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def follow_parent(parent: int) -> None:
    """Called once in a worker; ``parent`` is the process id of the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
