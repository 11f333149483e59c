"""One command's grid from plan to records: what is done, what it will take, registrations first, cells, tracking, leaderboard."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.cell.costs import memory_bytes, training_seconds
from benchmark.cell.experiment import training_volumes
from benchmark.ground import registry
from benchmark.ground.environment import free_memory
from benchmark.ground.errors import BadInput
from benchmark.ground.redaction import without_secrets
from benchmark.ground.wording import duration
from benchmark.launchers.devices import ROOM
from benchmark.launchers.dispatch import run_cells
from benchmark.launchers.site import Site
from benchmark.records.fingerprint import code_of, what_changed
from benchmark.records.identity import Cell
from benchmark.records.known import Known
from benchmark.records.schema import BadRecord
from benchmark.records.store import Store
from benchmark.records.table import Records, collect
from benchmark.records.tracking import Follower, Mirror
from benchmark.study.display import GridDisplay
from benchmark.study.grid import NOT_READ
from benchmark.study.preparation import prepare_shown, register_all
from datasets.folds import folded
from datasets.prepared import Prepared
from datasets.preparing import open_dataset

if TYPE_CHECKING:
    import pandas as pd


Finished = Literal["renew", "keep", "again"]


class Session:
    """Runs a grid at a site and mirrors its records to MLflow.

    tracking: an MLflow URI; "none": no tracking; None: sqlite beside the store. experiment: MLflow's, where it is not the usual one.
    ``system_metrics``: log the machine's load, too.
    finished: what becomes of finished cells; those of other code run again ("renew"), are used as they are ("keep"), or all run again
    ("again").
    """

    def __init__(
        self,
        cells: list[Cell],
        store: Path,
        site: Site,
        tracking: str | None,
        console: Console,
        finished: Finished = "renew",
        experiment: str | None = None,
    ) -> None:
        self.store = Store(store)
        self.site = site
        self.finished = finished
        self.mirror = Mirror(self.store, tracking, experiment)
        self.follower = Follower(self.mirror, self._warn)
        self.system_metrics = False
        self.hear: Callable[[Cell], None] = lambda cell: None
        """Called with each cell that has run to its end."""
        self.console = console
        self.replace(cells)

    def replace(self, cells: list[Cell]) -> None:
        """Take these cells as the grid."""
        self.cells = cells
        self.todo: list[Cell] = []
        self.outdated: list[Cell] = []
        known = Known(self.store)
        for cell in cells:
            folder = self.store.folder(cell)
            files = known.state(folder)
            found = known.find(folder, files)
            if self.finished != "again" and found and found[1]:
                continue
            if folder.damaged(read_all=False) != []:
                self.todo.append(cell)
                continue
            is_outdated = bool(what_changed(cell, folder.code()))
            if is_outdated:
                self.outdated.append(cell)
            else:
                with contextlib.suppress(OSError, BadRecord):  # what it was called when it was made stands in its folder
                    known.learn(folder, files, folder.cell(), current=True, note="")
            if self.finished == "again" or (is_outdated and self.finished == "renew"):
                self.todo.append(cell.model_copy(update={"replaces": folder.stamp()}))
        known.save()

    def run(self) -> int:
        """Run what is not done; returns how many cells did not end well. Every finished cell is mirrored to MLflow at once.

        Raises:
            BadInput: a file of the dataset is not in order, or the tracking URI cannot be used. Nothing has run then.
                A server that does not answer costs a warning.
            KeyboardInterrupt: after every running cell has written its checkpoint.
        """
        outcomes = Counter({"done": len(self.cells) - len(self.todo)})
        if len(self.todo) < len(self.cells):
            self.console.print(f"{outcomes['done']} of {len(self.cells)} cells are done already", highlight=False)
        self._tell_of_other_code()
        if self.finished == "keep":
            self._mark_kept()
        if self.todo:
            for cell in self.todo:  # what is asked for stands in the store before anything runs
                folder = self.store.folder(cell)
                for name in folder.damaged(read_all=False) or []:
                    self._warn(f"warning: {folder.path / name} is not as it was written; the cell is run again")
                folder.plan(cell)
            first = self.todo[0]
            dataset = prepare_shown(first.dataset, first.data, self.store, self.console, first.data_hash)
            with self._following():
                self._register(dataset)
                with GridDisplay(self.console, len(self.todo)) as display:

                    def finished(cell: Cell, outcome: str) -> None:
                        outcomes[outcome] += 1
                        folder = self.store.folder(cell)
                        display.finished(cell, outcome, summary(folder.record(), outcome))
                        self.follower.add(folder)
                        self.hear(cell)
                        self._tell_so_far(display.finished_cells)

                    run_cells(self.todo, self.store.root, self._within_memory(dataset), display.tell, finished)
        return sum(count for outcome, count in outcomes.items() if outcome != "done")

    def _tell_so_far(self, ended: int) -> None:
        """Print the leaderboard of what there is after 1, 2, 4, 8 and so on of the cells that run: early, and seldom in a long grid."""
        if ended & (ended - 1) or ended >= len(self.todo) or self.cells[0].kind == "trial":
            return
        from reports.tables.leaderboard import leaderboard
        from reports.tables.leaderboard_forms import to_terminal

        with self._tolerant():
            self.console.print(f"after {ended} of {len(self.todo)} cells:", highlight=False)
            self.console.print(to_terminal(leaderboard(self.records())))

    def _within_memory(self, dataset: Prepared | None = None) -> Site:
        """The site, with no more cells at once on its CPU than memory holds, where nobody said how many. dataset: None: not prepared
        yet, and its slices are left out.
        """
        site = self.site
        if site.jobs or site.launcher != "devices" or site.device != "cpu" or not self.todo:
            return site
        slices = sum(volume.shape[0] for volume in training_volumes(dataset, ())) if dataset else 0
        data = dataset or open_dataset(self.todo[0].dataset, self.todo[0].data)
        needed = max(memory_bytes(cell, data.channels, len(data.classes), slices) for cell in self.todo)
        free = free_memory()
        fit = max(1, int(ROOM * free / needed))
        if fit >= min(site.local_jobs, len(self.todo)):
            return site
        self._warn(
            f"{fit} cells at once, for each may take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; --jobs says otherwise"
        )
        return replace(site, jobs=fit)

    def _tell_of_other_code(self) -> None:
        """Say which finished cells were made, and which unfinished ones were begun, by other code than this."""
        does = (
            "are used as they are, and reports mark them"
            if self.finished == "keep"
            else "run again; --stale keep uses them as they are"
        )
        for method in sorted({cell.method for cell in self.outdated}):
            cells = [cell for cell in self.outdated if cell.method == method]
            days = sorted({self._day(cell) for cell in cells})
            changed = sorted({what_changed(cell, self.store.folder(cell).code()) for cell in cells})
            self._warn(
                f"{_count(cells, 'finished cell')} of {method} ({' to '.join(dict.fromkeys([days[0], days[-1]]))}) came from other code"
                f" ({', '.join(changed)}): {does}"
            )
        begun = [cell for cell in self.todo if self._begun_by_other_code(cell)]
        for method in sorted({cell.method for cell in begun}):
            cells = [cell for cell in begun if cell.method == method]
            self._warn(f"{_count(cells, 'unfinished cell')} of {method} came from other code: from the first step again")

    def _day(self, cell: Cell) -> str:
        """When a finished cell was made."""
        folder = self.store.folder(cell)
        ended = (folder.record() or {}).get("ended")
        return ended[:10] if ended else time.strftime("%Y-%m-%d", time.gmtime((folder.path / "record.json").stat().st_mtime))

    def _begun_by_other_code(self, cell: Cell) -> bool:
        folder = self.store.folder(cell)
        note = folder.progress() if folder.checkpoint.exists() and not folder.done() else None
        return note is not None and note["code"] != code_of(cell).id

    def _mark_kept(self) -> None:
        """What is used though other code made it is marked, in so far as the store can be written."""
        with contextlib.suppress(OSError):
            for cell in self.outdated:
                self.store.folder(cell).keep(code_of(cell))

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        """Tracking while cells run."""
        with contextlib.ExitStack() as stack:
            try:
                self.mirror.connect()
                if self.system_metrics:
                    stack.enter_context(self.mirror.system_metrics(self.cells[0].command))
            except BadInput as error:
                if not self.mirror.remote:
                    raise
                self.follower.give_up(error)
            try:
                yield
            finally:
                self.follower.close()

    def _warn(self, text: str) -> None:
        self.console.print(without_secrets(text), markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """What comes after a cell must not cost a grid its remaining cells: a server or report that fails is told of and left."""
        try:
            yield
        except BadInput as error:
            self._warn(f"warning: {error}; the records are kept")

    def _register(self, dataset: Prepared) -> None:
        """Compute the registrations that the cells still to run will ask for, with all workers and a progress bar.

        Not for a cluster: this may be its login node, and another kind of device than its cells have. They fill the cache themselves.
        """
        studies = {}
        for cell in self.todo:
            recipe = registry.load("methods", cell.method).Hparams(**cell.hparams).registration_recipe  # type: ignore[attr-defined]
            if recipe is not None:
                studies[recipe, cell.labelled, cell.fold] = cell
        if studies and not self.site.remote:
            dataset.unpack_registrations(self.store.registrations)
            volumes = [(training_volumes(folded(dataset, fold), labelled), recipe) for recipe, labelled, fold in studies]
            register_all(volumes, self.store, self.site.device, self.site.local_jobs, self.console)

    def report(self) -> tuple[pd.DataFrame, list[Path]]:
        """The leaderboard of this session's cells; and the files of the whole store's report, written and mirrored."""
        from reports.tables.leaderboard import leaderboard
        from reports.writing.leaderboard import can_draw, write_label_efficiency, write_leaderboard

        files: list[Path] = []
        if not can_draw():
            self._warn(
                "note: matplotlib or seaborn is not installed, so no figure is drawn; `python -m benchmark report` does it where both are"
            )
        with self._tolerant():  # older cells of the store may not be comparable; this session's table is printed all the same
            records = collect(self.store)
            for note in records.notes:
                self._warn(f"note: {note}")
            table = leaderboard(records)
            files = write_leaderboard(table, self.store.report) + write_label_efficiency(table, self.store.report / "figures")
            if self.todo:
                self.track_summary(self.cells[0].command, files)
        return leaderboard(self.records()), files

    def track_summary(
        self,
        command: str,
        files: list[Path],
        params: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Put what a command found into its MLflow run."""
        with self._tolerant():
            if not self.follower.broken.is_set():
                self.mirror.add_summary(command, files, params, metrics)

    def register(self, name: str) -> None:
        """Register the network of the cell that did best on the validation cases as the MLflow model ``name``."""
        from benchmark.cell.experiment import reported_network

        records = [(cell, self.store.folder(cell).record() or {}) for cell in self.cells]
        trained = [(cell, r["validation_last"]) for cell, r in records if r.get("validation_last") is not None]
        if not trained or not self.mirror.used:
            self._warn(
                "warning: --register: no finished cell was scored on validation cases, or tracking is off; nothing registered"
            )
            return
        cell, score = max(trained, key=lambda pair: pair[1])
        with self._tolerant():
            self.mirror.add(self.store.folder(cell))
            done = self.mirror.register(cell.id, name, *reported_network(cell, self.store))
            self.console.print(f"best on validation ({score:.3f} DSC): {cell}; {done}", highlight=False, soft_wrap=True)

    def records(self) -> Records:
        """Records of this session's cells alone."""
        read = collect(self.store, methods={cell.method for cell in self.cells})
        return read.of_cells({cell.id for cell in self.cells})

    def plan(self) -> Table:
        """The cells, which are done, and an estimate of the time left."""
        self._tell_of_other_code()
        title = f"{len(self.cells)} cells, {len(self.cells) - len(self.todo)} done"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in ("cell", "method", "labels", "draw", "seed", "protocol", "state", "time", "memory"):
            right = column in ("labels", "draw", "seed", "time", "memory")
            table.add_column(column, justify="right" if right else "left", no_wrap=column != "method", overflow="fold")
        todo = {cell.id for cell in self.todo}
        outdated = {cell.id for cell in self.outdated}
        seconds = {cell.id: self._estimate(cell) for cell in self.todo}
        for cell in self.cells:
            waits = cell.id in todo
            numbers = map(str, (cell.labels, cell.draw, cell.seed, escape(cell.protocol.title)))
            estimates = (duration(seconds[cell.id]), self._memory(cell)) if waits else ("", "")
            state = "outdated" if cell.id in outdated else "to do" if waits else "done"
            name = "-" if cell.data_hash == NOT_READ else cell.id
            table.add_row(name, escape(cell.variant), *numbers, state, *estimates)
        at_once = self._within_memory().at_once
        left = duration(sum(seconds.values()) / at_once)
        table.caption = f"time left with {at_once} at once: about {left}, registrations not counted; all of this is estimated"
        table.caption_justify = "left"
        return table

    def _estimate(self, cell: Cell) -> float:
        """Seconds of training: the median of finished cells of the same method, dataset and protocol, else by what methods cost."""
        known = self._seconds.get((cell.dataset, cell.variant, cell.protocol.name))
        if known:
            return median(known)
        if self.site.remote:
            return math.nan  # not this machine's to say
        return training_seconds(cell, self.site.device)

    @cached_property
    def _seconds(self) -> dict[tuple[str, str, str], list[float]]:
        """What finished cells of the grid's methods took, by dataset, variant and protocol."""
        found: dict[tuple[str, str, str], list[float]] = {}
        for dataset, method in dict.fromkeys((cell.dataset, cell.method) for cell in self.todo):
            for folder in self.store.of_method(dataset, method):
                record = folder.record() or {}
                if record.get("outcome") == "done" and record.get("seconds") is not None and folder.done("record.json"):
                    found.setdefault((dataset, record["variant"], record["protocol"]), []).append(record["seconds"])
        return found

    def _memory(self, cell: Cell) -> str:
        """Of a process on a CPU, without its slices; a GPU's is looked at as cells run."""
        if self.site.device != "cpu":
            return ""
        data = open_dataset(cell.dataset, cell.data)
        return f"{memory_bytes(cell, data.channels, len(data.classes)) / 1e9:.1f} GB"


def _count(cells: list[Cell], what: str) -> str:
    return f"{len(cells)} {what}{'s' if len(cells) > 1 else ''}"


def summary(record: dict[str, Any] | None, outcome: str) -> str:
    """One line on how a cell ended."""
    match outcome:
        case "done" if record:
            score = record["validation"]
            return f"val DSC {'-' if score is None else format(score, '.3f')}  {duration(record['seconds'])}"
        case "failed" | "out of memory" if record:
            return (record["error"].splitlines() or ["no error was noted"])[0]
        case "killed":
            return "its worker died again and again (memory?); the same command continues from its checkpoint"
        case _:
            return "the same command continues from its checkpoint"
