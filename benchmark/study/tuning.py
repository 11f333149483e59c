"""Tuning with equal budgets: for every method the same number of trials, steps and sampler seeds; a trial is a cell with overrides.

A trial's cell learns from the training cases and is scored on the validation cases; it never reads a test set. Trial 0 has the published
values. Trials come in rounds of ROUND: all of a round are drawn from what the rounds before it found, so that neither the number of
workers nor an interruption changes what is tried. Several processes may work on one study; a trial whose worker died goes on from its
checkpoint in the next round of any of them, and the same command runs again what failed.

The budget is counted in steps: trials times the protocol's steps. With pruning, the steps that a trial's early end saves are spent on
further trials.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import BadInput
from benchmark.ground.files import UNWRITABLE, make_way, one_at_a_time, set_aside
from benchmark.ground.protocol import Protocol
from benchmark.records.fingerprint import code_of
from benchmark.records.identity import Cell, Trial, digest
from benchmark.records.store import Store
from benchmark.study.grid import expand
from benchmark.study.pruning import Floors, Pruner, floors, rungs_of
from benchmark.study.spaces import Space
from benchmark.study.studies import DIRECTIONS, POPULATION, Objective, Sampler, SpaceStudy, running_rounds
from datasets.contents import hash_of

if TYPE_CHECKING:
    import optuna

    from datasets.dataset import Dataset

ROUND = 4
ATTEMPTS = 3
"""How often a trial may lose its worker before it counts as failed."""

BUSY_SECONDS = 5.0
DRIVERS = {"postgresql": "psycopg2-binary", "mysql": "PyMySQL"}
"""The package by which SQLAlchemy reaches a database."""


@dataclass(frozen=True)
class Search:
    """How a command searches: trials of each method at each budget, how they are drawn and pruned, for what, and the Optuna storage URL
    (None: a journal file in the store). startup: trials that TPE draws at random before it goes by results.
    """

    trials: int
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    storage: str | None = None
    objectives: tuple[Objective, ...] = ("dsc",)
    startup: int = 10
    starts: tuple[str, ...] = ()
    """Where the first values after the published ones come from, as the user named it; see ``study.tuned.warm_starts``."""

    def check(self, protocol: Protocol) -> None:
        """That what was chosen goes together.

        Raises:
            BadInput: it does not.
        """
        if self.pruner != "none" and self.objectives != ("dsc",):
            raise BadInput(f"--pruner {self.pruner} goes by the DSC of the looks; expected --objective dsc, or --pruner none")
        if self.pruner == "hyperband":
            rungs_of(protocol)

    def about(self) -> list[Any]:
        """What makes two searches of one space different."""
        startup = self.startup if self.sampler == "tpe" else None
        return [self.sampler, self.pruner, list(self.objectives), startup, list(self.starts)]

    def draw(self, seed: int) -> Any:
        """A fresh sampler for each trial, seeded by its number: what is drawn depends on the results so far and on nothing else."""
        from optuna import samplers

        match self.sampler:
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        return samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=self.startup)


class Tuner:
    """The studies of one command: which cells to run next, and what they told.

    starts: by study, in the order of ``spaces``, the values that come after the published ones.

    Raises:
        BadInput: the storage cannot be used, or the dataset has no validation cases.
    """

    def __init__(
        self,
        dataset: Dataset,
        spaces: list[Space],
        protocol: Protocol,
        search: Search,
        store: Store,
        command: str,
        starts: list[list[dict[str, Any]]] | None = None,
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise BadInput("tune: optuna is not installed; install it to tune, `run` does without") from None
        if not dataset.split.val:
            raise BadInput(
                f"tune: {dataset.name} has no validation cases; expected some, for they are what trials are scored on"
            )
        optuna.logging.set_verbosity(logging.WARNING)
        search.check(protocol)
        self.dataset, self.protocol, self.search = dataset, protocol, search
        self.steps = search.trials * protocol.steps
        self.store, self.command = store, command
        self.folder = store.root / "tuning"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone(opening=True):
            opened = [self._open(space) for space in spaces]
        with self._alone():
            self.studies = [self._study(*pair) for pair in zip(spaces, opened, strict=True)]
        self.given = [[space.published, *values] for space, values in zip(spaces, starts or [[] for _ in spaces], strict=True)]
        self.lost: dict[str, int] = {}

    def _study(self, space: Space, opened: optuna.Study) -> SpaceStudy:
        return SpaceStudy(space, opened, self.store, self.search.objectives, partial(self._cell, space), self.search.draw)

    def _open(self, space: Space) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        journal, storage = self.folder / "journal.log", self.search.storage
        if not storage:
            _heal(journal)
        where: Any = storage or JournalStorage(JournalFileBackend(str(journal)))
        directions = [DIRECTIONS[objective] for objective in self.search.objectives]
        name = self._name(space)
        study = optuna.create_study(storage=where, study_name=name, directions=directions, load_if_exists=True)
        if study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([f"validation {objective}" for objective in self.search.objectives])
        return study

    def _name(self, space: Space) -> str:
        """The study's name: readable, and with a hash of all that decides what is tried and how it is scored."""
        (published,) = expand(self.dataset, [space.base], [space.labels], [(0, 0)], self.protocol, self.command)
        about = [hash_of(self.dataset), code_of(published).id, space.base.hparams, self.protocol.rules(), space.ranges]
        hashed = digest([*about, *self.search.about()])
        return f"{self.dataset.name} {space.base.variant[:300]} {space.labels} labelled {self.protocol.name} {hashed}"

    @contextmanager
    def _alone(self, opening: bool = False) -> Iterator[None]:
        """The studies are one command's at a time; their storage's errors, of many libraries, become one sentence, at its opening any.
        Optuna's own lock of a journal says of a full disk that it did not possess the lock.
        """
        with one_at_a_time(self.folder / "lock"):
            try:
                yield
            except (OSError, BadInput):
                raise
            except Exception as error:  # SQLAlchemy's and its drivers' errors have no common base
                if isinstance(error, RuntimeError) and (full := _of_the_disk(error)):
                    raise full from None
                if not opening and type(error).__module__.partition(".")[0] in ("builtins", "benchmark", "pydantic"):
                    raise
                raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> BadInput:
        """The sentence on a storage that fails."""
        reason, storage = str(error).splitlines()[0] if str(error) else type(error).__name__, self.search.storage
        if not storage:
            place = f"the journal in {self.folder}"
            return BadInput(
                f"{place} cannot be used ({reason}); move it away; trials that have run are taken from their records"
            )
        remedy = "check the address; trials that have run are kept, and the same command goes on"
        if "://" not in storage:
            remedy = f"expected a URL, of a file sqlite:///{Path(storage).absolute()}"
        elif isinstance(error, ImportError) or "DB access module" in reason:
            driver = DRIVERS.get(storage.partition(":")[0].partition("+")[0])
            remedy = f"install {driver}" if driver else "install the package that SQLAlchemy needs for it"
        return BadInput(f"--storage: {storage} cannot be used ({reason}); {remedy}")

    def cells(self) -> dict[str, Cell]:
        """By id, the cells of every study's current round that have no result yet; empty when all trials are finished."""
        with self._alone():
            found: dict[str, Cell] = {}
            for study, given in zip(self.studies, self.given, strict=True):
                study.tell()
                found |= {cell.id: cell for cell in self._round(study, given)}
            return found

    def _round(self, study: SpaceStudy, given: list[dict[str, Any]]) -> list[Cell]:
        known = study.known()
        if all(trial.outcome != "waiting" for trial in known):
            asked = len(known)
            room = (self.steps - sum(trial.steps for trial in known)) // self.protocol.steps
            looks = {trial.number: dict(trial.looks) for trial in known}
            for number in range(asked, asked + min(ROUND - asked % ROUND, room)):
                earlier = {other: seen for other, seen in looks.items() if other < number - number % ROUND}
                below = floors(self.search.pruner, number, earlier, self.protocol, ROUND)
                study.ask(number, below, given[number] if number < len(given) else None)
            known = study.known()
        return [trial.cell for trial in running_rounds(known, ROUND)]

    def _cell(self, space: Space, study: str, number: int, values: dict[str, Any], below: Floors) -> Cell:
        """The cell of a trial."""
        selections = [space.selection(values)]
        (cell,) = expand(self.dataset, selections, [space.labels], [(0, 0)], self.protocol, self.command)
        about = Trial(
            study=study,
            of=space.base.variant,
            number=number,
            sampler=self.search.sampler,
            searched=space.ranges,
            prune_below=below,
            objectives=self.search.objectives,
        )
        return cell.model_copy(update={"variant": f"{space.base.variant} trial {number}", "trial": about})

    def tell(self, ran: dict[str, Cell]) -> None:
        """Pass on the results of cells that ``cells`` named and that have run, or lost their worker."""
        with self._alone():
            for study in self.studies:
                study.again -= ran.keys()
                for trial in study.known():
                    if trial.outcome == "waiting" and trial.cell.id in ran:
                        self._lose(study, trial.cell)
                study.tell()

    def hear(self, cell: Cell) -> None:
        """Pass on the result of a cell at once, for who watches the study; what cannot be told now is told at the end of the round."""
        if self.store.folder(cell).record():
            with suppress(BadInput, OSError):
                self.tell({cell.id: cell})

    def _lose(self, study: SpaceStudy, cell: Cell) -> None:
        """A trial without a result: another process has it, or its worker died and it comes again."""
        with self.store.folder(cell).lock() as free:
            if not free:
                time.sleep(BUSY_SECONDS / 10)
                return
        self.lost[cell.id] = self.lost.get(cell.id, 0) + 1
        if self.lost[cell.id] >= ATTEMPTS:
            study.given_up.add(cell.id)

    def transfers(self) -> list[Cell]:
        """The best values of each study, at the other budgets at which the same method was tuned: cells that are scored on the validation
        cases, and that no study counts.
        """
        cells = []
        for study in self.studies:
            best = study.best()
            for other in self.studies:
                if best is None or best.cell.trial is None or other is study or other.space.base != study.space.base:
                    continue
                selections, labels = [study.space.selection(best.values_tried)], [other.space.labels]
                (cell,) = expand(self.dataset, selections, labels, [(0, 0)], self.protocol, self.command)
                about = best.cell.trial.model_copy(update={"prune_below": (), "found_at": study.space.labels})
                variant = f"{study.space.base.variant} tuned at {study.space.labels}"
                cells.append(cell.model_copy(update={"trial": about, "variant": variant}))
        return cells

    def failed(self) -> int:
        """How many trials of all studies failed."""
        return sum(trial.outcome == "failed" for study in self.studies for trial in study.known())

    def names(self) -> list[str]:
        """The names of the studies."""
        return [study.name for study in self.studies]


def _heal(journal: Path) -> None:
    """Set aside a journal that is not whole, as a crash or a full disk leaves it. The records are the truth: the studies begin again in a
    new one, with the trials that the store has.
    """
    make_way(journal)
    if not journal.exists():
        return
    content = journal.read_bytes()
    try:
        whole = all(isinstance(json.loads(line), dict) for line in content.splitlines())
    except (ValueError, RecursionError):
        whole = False
    if not whole or (content and not content.endswith(b"\n")):
        set_aside(journal, "is not as it was written, and trials that have run are taken from their records")


def _of_the_disk(error: BaseException) -> OSError | None:
    """The error of a disk that takes nothing more, in whose handling ``error`` came; None where there was none."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return error
    return _of_the_disk(error.__context__) if error.__context__ else None


def tune(tuner: Tuner, run: Callable[[list[Cell]], int], over: Callable[[], bool] = lambda: False) -> None:
    """Run rounds until every study has its trials, or the time is ``over``. ``run`` returns how many cells did not end well."""
    while not over() and (cells := tuner.cells()):
        run(list(cells.values()))
        tuner.tell(cells)
