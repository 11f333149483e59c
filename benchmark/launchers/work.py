"""The cells of one command on their way: which wait, which run here, which another command has; and what becomes of lost ones."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from benchmark.records.leases import BUSY
from benchmark.records.store import CellFolder, Store

if TYPE_CHECKING:
    from benchmark.cell.training import Progress
    from benchmark.records.identity import Cell

ATTEMPTS = 3
"""So often a cell's worker may die before the cell is given up for this command."""

LOOK_SECONDS = 1.0


class Work:
    """Launchers ``take`` cells and say how they ``ended``; ``open`` while any is left."""

    def __init__(
        self,
        cells: list[Cell],
        store: Path,
        tell: Callable[[Cell, Progress], None],
        finished: Callable[[Cell, str], None],
    ) -> None:
        self.store = Store(store)
        self.waiting = deque(cells)
        self.alone: deque[Cell] = deque()
        self.running: dict[str, Cell] = {}
        self.elsewhere: dict[str, tuple[Cell, _Watch]] = {}
        self.tell, self._finished = tell, finished
        self._deaths: Counter[str] = Counter()
        self._tried_alone: set[str] = set()
        self._looked = 0.0

    @property
    def open(self) -> bool:
        """Whether a cell has not ended yet."""
        return bool(self.waiting or self.alone or self.running or self.elsewhere)

    def take(self, alone: bool = False) -> Cell | None:
        """The next cell to run, or None; ``alone``: one that needs a device for itself."""
        queue = self.alone if alone else self.waiting
        if not queue:
            return None
        cell = queue.popleft()
        self.running[cell.id] = cell
        return cell

    def ended(self, cell: Cell, outcome: str, was_alone: bool = False) -> None:
        """A cell that was taken has come to an end; it comes again where that may help."""
        del self.running[cell.id]
        if outcome == "busy":
            self.elsewhere[cell.id] = (cell, _Watch(self.store.folder(cell)))
        elif outcome == "killed" and self._deaths[cell.id] + 1 < ATTEMPTS:
            self._deaths[cell.id] += 1
            self.waiting.appendleft(cell)
        elif outcome == "out of memory" and not was_alone and cell.id not in self._tried_alone:
            self._tried_alone.add(cell.id)
            self.alone.append(cell)
        else:
            self._finished(cell, outcome)

    def drop(self) -> None:
        """The command stops: what has not begun, or is another's, is left."""
        self.waiting.clear()
        self.alone.clear()
        self.elsewhere.clear()

    def look(self) -> None:
        """Pass on how far running cells are; see what became of cells that others have."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        for cell, note in self.notes():
            self.tell(cell, note)
        for cell, watch in list(self.elsewhere.values()):
            if self.store.folder(cell).done(replaces=cell.replaces):
                del self.elsewhere[cell.id]
                self._finished(cell, "done")
            elif watch.is_free():
                del self.elsewhere[cell.id]
                self.waiting.append(cell)
        self._looked = time.monotonic()

    def notes(self) -> Iterator[tuple[Cell, Progress]]:
        """How far each running cell is, where it has said so."""
        from benchmark.cell.training import Progress

        names = [field.name for field in fields(Progress)]
        for cell in self.running.values():
            note = self.store.folder(cell).progress()
            if note:
                yield cell, Progress(**{name: note[name] for name in names})

    def memory(self) -> dict[str, tuple[float, float]]:
        """By device, MB of a GPU that the hungriest of the running cells has needed, and that there are."""
        needs: dict[str, tuple[float, float]] = {}
        for cell in self.running.values():
            note = self.store.folder(cell).progress() or {}
            if note.get("memory"):
                used, total = note["memory"]
                needs[note["device"]] = (max(used, needs.get(note["device"], (0.0, 0.0))[0]), total)
        return needs


class _Watch:
    """A cell that another process has, looked at again and again, so that a silent holder is seen to be silent."""

    def __init__(self, folder: CellFolder) -> None:
        self.folder, self.lease = folder, folder.lease()
        self._empty: tuple[int, int] | None = None
        self._since = 0.0

    def is_free(self) -> bool:
        """Whether nobody holds the cell."""
        self._drop_empty()
        try:
            self.lease.acquire(timeout=0)
        except filelock.Timeout:
            return False
        except BUSY:  # a lease of another length: by that from now on
            self.lease = self.folder.lease()
            return False
        self.lease.release()
        return True

    def _drop_empty(self) -> None:
        """Remove a lease that has been empty for as long as it lasts: whoever made it was killed before it wrote its name.

        filelock keeps an empty file for good, since its early releases never wrote more.
        """
        path, lasts = Path(self.lease.lock_file), getattr(self.lease, "lease_duration", math.inf)
        with contextlib.suppress(OSError):
            found = path.stat()
            empty = None if found.st_size else (found.st_ino, found.st_mtime_ns)
            if empty != self._empty:
                self._empty, self._since = empty, time.monotonic()
            elif empty and time.monotonic() - self._since >= lasts:
                path.unlink()
