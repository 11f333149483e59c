"""Ratios: what ours costs against a reference, both measured in one run, in turns; never an absolute time.

On a CPU the clock is that of the process (all of it runs on one thread), so that what other programs take does not count.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

ALLOWED = 1.25
"""How much worse than the stored ratio a guarded one may be."""

ATTEMPTS = 3
"""A guarded ratio is measured again, twice, before it counts as worse."""

Clock = Callable[[], float]


def machine_seconds() -> float:
    """CPU time of this process and of all that it has waited for: what a job takes from a machine that has other things to do."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@dataclass(frozen=True)
class Ratio:
    """One measured ratio: ``name`` is its key in docs/performance.json, ``compared`` says what was divided by what."""

    name: str
    compared: str
    value: float
    better: Literal["lower", "higher"]
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.value <= self.target if self.better == "lower" else self.value >= self.target

    def worsening(self, stored: float) -> float:
        """How many times worse than ``stored``; below 1 it is better."""
        return self.value / stored if self.better == "lower" else stored / self.value


@dataclass
class Ledger:
    """What the benchmarks of this run found."""

    ratios: list[Ratio] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def add(self, ratio: Ratio) -> None:
        """Note a ratio."""
        self.ratios.append(ratio)

    def table(self, title: str, *rows: list[Any]) -> None:
        """Note rows of a table, the head first; rows for a title that is known join it."""
        head, *body = ([str(cell) for cell in row] for row in rows)
        self.tables.setdefault(title, [head]).extend(body)


def interleaved(
    ours: Callable[[], Any], reference: Callable[[], Any], rounds: int, clock: Clock = time.process_time
) -> tuple[float, float]:
    """Least seconds of each over ``rounds`` turns, after one to warm up; who comes first alternates, so that noise hits both."""
    seconds: dict[Callable[[], Any], list[float]] = {ours: [], reference: []}
    for number in range(rounds + 1):
        for work in (ours, reference) if number % 2 else (reference, ours):
            began = clock()
            work()
            seconds[work].append(clock() - began)
    return min(seconds[ours][1:]), min(seconds[reference][1:])


def worse_than_stored(measure: Callable[[], Ratio], stored: float) -> Ratio | None:
    """The last of ATTEMPTS measurements if each was worse than ``stored`` by more than ALLOWED, else None: the guard of CI."""
    for _ in range(ATTEMPTS):
        found = measure()
        if found.worsening(stored) <= ALLOWED:
            return None
    return found
