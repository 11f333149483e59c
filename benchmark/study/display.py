"""What a person sees while cells run: a live display in a terminal, plain lines elsewhere. All of it goes to stderr."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from benchmark.ground.wording import duration
from benchmark.records.identity import Cell

if TYPE_CHECKING:
    from benchmark.cell.training import Progress as Training

LINE_SECONDS = 15.0
STYLES = {"done": "green", "interrupted": "yellow", "failed": "red", "out of memory": "red", "killed": "red"}


def _bars(console: Console, *more: ProgressColumn) -> Progress:
    """Bars with a count and a text of one's own; nothing at all where the console is no terminal."""
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()]
    return Progress(*columns, TextColumn("{task.fields[text]}"), *more, console=console, disable=not console.is_terminal)


class GridDisplay:
    """Progress over all cells of a grid: step, loss, validation score, time left for the cell and for the grid."""

    def __init__(self, console: Console, cells: int) -> None:
        self.console = console
        self.cells = cells
        self.finished_cells = 0
        self.began = time.monotonic()
        self.started: dict[str, tuple[float, int]] = {}
        self.fractions: dict[str, float] = {}
        self.printed: dict[str, float] = {}
        self.tasks: dict[str, TaskID] = {}
        self.bars = _bars(console, TimeElapsedColumn())
        self.grid = self.bars.add_task("grid (cells)", total=cells, text="")

    def __enter__(self) -> GridDisplay:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bars.stop()

    def tell(self, cell: Cell, progress: Training) -> None:
        """A running cell has got on."""
        now = time.monotonic()
        began, first = self.started.setdefault(cell.id, (now, progress.step))
        left = (now - began) / (progress.step - first) * (progress.total - progress.step) if progress.step > first else math.nan
        self.fractions[cell.id] = progress.step / progress.total
        text = f"loss {progress.loss:.3f}  val {progress.validation:.3f}  left {duration(left)}".replace("nan", "-")
        if self.console.is_terminal:
            if cell.id not in self.tasks:
                self.tasks[cell.id] = self.bars.add_task(escape(str(cell)), total=progress.total, text="")
            self.bars.update(self.tasks[cell.id], completed=progress.step, text=text)
            self._update_grid()
        elif now - self.printed.get(cell.id, -math.inf) > LINE_SECONDS:
            self.printed[cell.id] = now
            grid = f"grid {self.finished_cells}/{self.cells} left {duration(self._grid_left())}"
            self._print(f"{escape(str(cell))}: step {progress.step}/{progress.total}  {text}  ({grid})")

    def finished(self, cell: Cell, outcome: str, note: str) -> None:
        """A cell has ended with ``outcome``; ``note`` is its score or its error in one line."""
        self.finished_cells += 1
        self.fractions.pop(cell.id, None)
        if cell.id in self.tasks:
            self.bars.remove_task(self.tasks.pop(cell.id))
        self._print(f"[{STYLES[outcome]}]{outcome:>13}[/]  {escape(str(cell))}  {escape(note)}")
        self._update_grid()

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def _grid_left(self) -> float:
        """Seconds left for the grid, taking the rest to cost what the parts done so far cost; not known before a twentieth of a cell."""
        parts = self.finished_cells + sum(self.fractions.values())
        return (time.monotonic() - self.began) / parts * (self.cells - parts) if parts > 0.05 else math.nan

    def _update_grid(self) -> None:
        self.bars.update(self.grid, completed=self.finished_cells, text=f"left {duration(self._grid_left())}")


class StageDisplay:
    """Progress of one stage that counts its parts, e.g. registration's target volumes; ``parts`` is what they are called."""

    def __init__(self, console: Console, name: str, parts: str) -> None:
        self.console, self.name, self.parts = console, name, parts
        self.began = self.printed = time.monotonic()
        self.last = (0, 0)
        self.bars = _bars(console)
        self.task = self.bars.add_task(escape(name), total=None, text="")

    def __enter__(self) -> StageDisplay:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bars.stop()
        if self.last[1] and error is None:
            took = duration(time.monotonic() - self.began)
            self.console.print(f"{self.name}: {self.last[1]} {self.parts} in {took}", highlight=False, soft_wrap=True)

    def tell(self, done: int, total: int) -> None:
        """``done`` of ``total`` parts are finished."""
        now = time.monotonic()
        self.last = (done, total)
        left = duration((now - self.began) / done * (total - done) if done else math.nan)
        self.bars.update(self.task, completed=done, total=total, text=f"left {left}")
        if not self.console.is_terminal and now - self.printed > LINE_SECONDS:
            self.printed = now
            self.console.print(f"{self.name}: {done}/{total} {self.parts}  left {left}", highlight=False, soft_wrap=True)
