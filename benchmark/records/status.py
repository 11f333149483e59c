"""What has become of the cells of a store: done, running where and since when, failed and why, damaged, still to do."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmark.ground.errors import BadInput
from benchmark.ground.wording import duration
from benchmark.records.fingerprint import what_changed
from benchmark.records.identity import Cell
from benchmark.records.known import About, Known
from benchmark.records.schema import BadRecord
from benchmark.records.store import CellFolder, Store

STATES = ("done", "outdated", "running", "failed", "damaged", "to do")


@dataclass(frozen=True)
class Status:
    """A cell's state, one of STATES, and what is to be said of it: who runs it, how far it is, why it failed, which file is damaged."""

    folder: CellFolder
    about: About
    state: str
    note: str


def statuses(store: Store) -> tuple[list[Status], list[str]]:
    """Every cell that was ever asked for, by dataset, budget, method and run; and what is said of folders whose cell cannot be read.

    Raises:
        BadInput: there is no such store.
    """
    store.expect()
    known = Known(store)
    folders, unreadable = store.walk()
    found = []
    for folder in folders:
        try:
            found.append(_status(folder, known))
        except FileNotFoundError:
            unreadable.append(f"{folder.path / 'cell.json'} is not there")
        except (OSError, BadRecord) as error:
            unreadable.append(str(error))
    known.save()
    return sorted(
        found, key=lambda s: (s.about.dataset, s.about.labels, s.about.variant, s.about.draw, s.about.seed)
    ), unreadable


def counts(found: list[Status]) -> str:
    """How many cells are in each state."""
    numbers = Counter(status.state for status in found)
    return ", ".join(f"{numbers[state]} {state}" for state in STATES if numbers[state]) or "no cell"


def _status(folder: CellFolder, known: Known) -> Status:
    """A cell's status; one that is finished, and as it was when it was last looked at, is not read.

    Raises:
        OSError: it cannot be read.
        BadRecord: it is no cell.
    """
    files = known.state(folder)
    if found := known.find(folder, files):
        about, current, note = found
        return Status(folder, about, "done" if current else "outdated", note)
    cell = folder.cell()
    state, note = _state(folder, cell)
    if state in ("done", "outdated"):
        known.learn(folder, files, cell, state == "done", note)
    return Status(folder, About.of(cell), state, note)


def _state(folder: CellFolder, cell: Cell) -> tuple[str, str]:
    damaged = folder.damaged(read_all=False)
    if damaged:
        return "damaged", f"not as written: {', '.join(damaged)}; `retry` runs it again"
    if damaged is not None:
        return _finished(folder, cell)
    free = not folder.held()
    record, note = folder.record(), folder.progress()
    if free and record is not None:
        return "failed", (str(record.get("error")).splitlines() or ["no error was noted"])[0]
    how_far = f"step {note['step']}/{note['total']}" if note else ""
    if not free:
        return "running", f"{_where(note)} {how_far}".strip() if note else "not a step done yet"
    return "to do", f"{how_far} done, then cut off ({_where(note)})" if note and folder.checkpoint.exists() else ""


def _finished(folder: CellFolder, cell: Cell) -> tuple[str, str]:
    """Done, or outdated: made by other code than there is now."""
    try:
        changed = what_changed(cell, folder.code())
    except BadInput:
        return "done", f"the method {cell.method} is not known here, so its code was not compared; --plugin names its file"
    return ("outdated", f"made by other code ({changed}); `retry --stale` runs it again") if changed else ("done", "")


def _where(note: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note["since"]))
    return f"on {note['host']}, process {note['process']}, {note['device']}, since {since} ({duration(time.time() - note['since'])})"
