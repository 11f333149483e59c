"""Ctrl-C, SIGTERM and the end of a command's time while cells run: once, they end after their next checkpoint; twice, at once."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from benchmark.ground.errors import BadInput, quoted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Stopped(KeyboardInterrupt):
    """A signal ended the command. ``code``: the exit code that says which."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + signum


class Stop:
    """While it is entered, the first of the signals is remembered, and the second raises Stopped. Calling it says whether one came."""

    def __init__(self, *signals: int) -> None:
        self.signals = signals or SIGNALS
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.received is not None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.signals}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise Stopped(number)
        self.received = number

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self.received is not None:
            raise Stopped(self.received)


def parse_time(option: str, text: str) -> float:
    """Seconds, from ``90``, ``90s``, ``30m``, ``8h`` or ``2d``.

    Raises:
        BadInput: anything else.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)", text.strip(), re.ASCII)
    if not match or not float(match[1]):
        raise BadInput(f"{option}: found {quoted(text)}; expected seconds, or a time such as 30m or 8h")
    return float(match[1]) * SECONDS[match[2]]


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[Stop]:
    """Ends what runs in it after so many seconds, as Ctrl-C would, but without an error; what it yields says whether that was so."""
    with Stop(signal.SIGALRM) as over:
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield over
        except Stopped as stopped:
            if stopped.code != 128 + signal.SIGALRM:
                raise
            over.received = signal.SIGALRM
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
