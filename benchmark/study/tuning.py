"""Tuning with equal budgets: for every method the same number of trials, steps and sampler seeds; a trial is a cell with overrides.

A trial's cell learns from the training cases and is scored on the validation cases; it never reads a test set. Trial 0 has the published
values. Trials come in rounds of ROUND: all of a round are drawn from what the rounds before it found, so that neither the number of
workers nor an interruption changes what is tried. Several processes may work on one study; a trial whose worker died goes on from its
checkpoint in the next round of any of them.

The budget is counted in steps: trials times the protocol's steps. With pruning, a trial ends where its best validation score so far is
below the median of what earlier rounds' trials had at that step; the steps it saves are spent on further trials.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.files import UNWRITABLE, make_way, one_at_a_time, set_aside
from benchmark.ground.protocol import Protocol
from benchmark.records.fingerprint import Code, code_of, is_current
from benchmark.records.identity import Cell, Spent, Trial, digest
from benchmark.records.store import Store
from benchmark.study.grid import expand
from benchmark.study.spaces import Space, search_names
from datasets.contents import hash_of

if TYPE_CHECKING:
    import optuna

    from datasets.dataset import Dataset

ROUND = 4
ATTEMPTS = 3
"""How often a trial may lose its worker before it counts as failed."""

BUSY_SECONDS = 5.0
Sampler = Literal["tpe", "random"]
Pruner = Literal["none", "median"]


@dataclass(frozen=True)
class Known:
    """A trial that was asked for: its cell, its steps (the protocol's until it is known to have had fewer) and its validation scores."""

    cell: Cell
    number: int
    finished: bool
    steps: int
    looks: dict[int, float]


@dataclass(frozen=True)
class Search:
    """How a command searches: trials of each method at each budget, how they are drawn and pruned, and the Optuna storage URL (None: a
    journal file in the store)."""

    trials: int
    sampler: Sampler
    pruner: Pruner
    storage: str | None = None


class Tuner:
    """The studies of one command: which cells to run next, and what they told.

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
        self.dataset, self.protocol, self.sampler, self.pruner = dataset, protocol, search.sampler, search.pruner
        self.steps = search.trials * protocol.steps
        self.store, self.command = store, command
        self.folder = store.root / "tuning"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.studies = [(space, self._study(space, search.storage)) for space in spaces]
        self.lost: dict[str, int] = {}

    def _study(self, space: Space, storage: str | None) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        (published,) = expand(self.dataset, [space.base], [space.labels], [(0, 0)], self.protocol, self.command)
        about = [
            hash_of(self.dataset),
            code_of(published).id,
            space.base.hparams,
            self.protocol.rules(),
            self.sampler,
            self.pruner,
        ]
        name = f"{self.dataset.name} {space.base.variant} {space.labels} labelled {self.protocol.name} {digest(about)}"
        try:
            with self._alone():
                journal = self.folder / "journal.log"
                if not storage:
                    _heal(journal)
                where: Any = storage or JournalStorage(JournalFileBackend(str(journal)))
                study = optuna.create_study(storage=where, study_name=name, direction="maximize", load_if_exists=True)
                if not study.get_trials(deepcopy=False):
                    study.enqueue_trial({name: space.base.hparams[name] for name in space.ranges})
        except OSError:
            raise
        except Exception as error:  # SQLAlchemy's and its drivers' errors have no common base
            place = f"--storage: {storage}" if storage else f"the journal in {self.folder}"
            remedy = "check the address" if storage else "move it away; trials that have run are taken from their records"
            raise BadInput(f"{place} cannot be used ({error}); {remedy}") from error
        return study

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The journal is one command's at a time. Optuna's own lock of it says of a full disk that it did not possess the lock."""
        with one_at_a_time(self.folder / "lock"):
            try:
                yield
            except RuntimeError as error:
                raise _of_the_disk(error) or error from None

    def damaged(self) -> dict[str, Cell]:
        """By id, the cells of trials that ended well and whose files are no longer as they were written; of each study those of the first
        round that has some, for later rounds go by it.
        """
        from optuna.trial import TrialState

        found: dict[str, Cell] = {}
        for space, study in self.studies:
            ended = [
                trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            ]
            known = [trial for trial in self._known(space, study) if trial.number in ended]
            bad = [trial for trial in known if not self.store.folder(trial.cell).done()]
            found |= {trial.cell.id: trial.cell for trial in bad if trial.number // ROUND == bad[0].number // ROUND}
        return found

    def cells(self) -> dict[str, Cell]:
        """By id, the cells of every study's current round that have no result yet; empty when all trials are finished."""
        with self._alone():
            return {cell.id: cell for space, study in self.studies for cell in self._round(space, study)}

    def _round(self, space: Space, study: optuna.Study) -> Iterator[Cell]:
        known = self._known(space, study)
        running = [trial for trial in known if not trial.finished]
        if not running:
            asked = len(known)
            room = (self.steps - sum(trial.steps for trial in known)) // self.protocol.steps
            for number in range(asked, asked + min(ROUND - asked % ROUND, room)):
                study.sampler = self._sampler(number)
                study.ask({name: _distribution(search) for name, search in space.ranges.items()})
            running = [trial for trial in self._known(space, study) if not trial.finished]
        for trial in running:
            yield trial.cell

    def _known(self, space: Space, study: optuna.Study) -> list[Known]:
        """Every trial that was asked for, with its cell, in order: what earlier rounds scored decides where those of a round are pruned."""
        from optuna.trial import TrialState

        known: list[Known] = []
        prune_below: tuple[tuple[int, float], ...] = ()
        for trial in study.get_trials(deepcopy=False):
            if trial.state == TrialState.WAITING:
                continue
            if trial.number % ROUND == 0 and self.pruner == "median":
                prune_below = _medians([t.looks for t in known], self.protocol.steps)
            cell = self._cell(space, study, trial, prune_below)
            record = self.store.folder(cell).record() if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None
            known.append(
                Known(
                    cell,
                    trial.number,
                    trial.state != TrialState.RUNNING,
                    record["steps_done"] if record else self.protocol.steps,
                    dict(record["looks"]) if record else {},
                )
            )
        return known

    def _sampler(self, seed: int) -> Any:
        """A fresh sampler for each trial, seeded by its number: what is drawn depends on the results so far and on nothing else."""
        import optuna

        if self.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _cell(
        self,
        space: Space,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        prune_below: tuple[tuple[int, float], ...],
    ) -> Cell:
        selections = [space.selection(trial.params)]
        (cell,) = expand(self.dataset, selections, [space.labels], [(0, 0)], self.protocol, self.command)
        about = Trial(
            study=study.study_name,
            of=space.base.variant,
            number=trial.number,
            sampler=self.sampler,
            searched=space.ranges,
            prune_below=prune_below,
        )
        return cell.model_copy(update={"variant": f"{space.base.variant} trial {trial.number}", "trial": about})

    def tell(self, ran: dict[str, Cell]) -> None:
        """Pass on the results of cells that ``cells`` named and that have run, or lost their worker."""
        from optuna.trial import TrialState

        with self._alone():
            for space, study in self.studies:
                for trial in self._known(space, study):
                    if trial.finished or trial.cell.id not in ran:
                        continue
                    folder = self.store.folder(trial.cell)
                    record = folder.record()
                    if record is not None and record["outcome"] == "done" and record["steps_done"] < self.protocol.steps:
                        study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
                    elif record is not None and record["outcome"] == "done" and folder.done():
                        study.tell(trial.number, record["validation_last"], skip_if_finished=True)
                    elif record is not None and record["outcome"] == "failed":
                        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                    else:
                        self._lose(study, trial.number, trial.cell)

    def _lose(self, study: optuna.Study, number: int, cell: Cell) -> None:
        """A trial without a result: another process has it, or its worker died and it comes again."""
        from optuna.trial import TrialState

        with self.store.folder(cell).lock() as free:
            if not free:
                time.sleep(BUSY_SECONDS / 10)
                return
        self.lost[cell.id] = self.lost.get(cell.id, 0) + 1
        if self.lost[cell.id] >= ATTEMPTS:
            study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def failed(self) -> int:
        """How many trials of all studies failed."""
        from optuna.trial import TrialState

        return sum(len(study.get_trials(deepcopy=False, states=(TrialState.FAIL,))) for _, study in self.studies)

    def names(self) -> list[str]:
        """The names of the studies."""
        return [study.study_name for _, study in self.studies]


def _heal(journal: Path) -> None:
    """Set aside a journal that is not whole, as a crash or a full disk leaves it. The records are the truth: the studies begin again in a
    new one, ask for the same trials, and those that have run are done at once.
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


def _medians(earlier: list[dict[int, float]], steps: int) -> tuple[tuple[int, float], ...]:
    """By step of a look, but the last: the median of the scores that earlier trials had there; nothing before there are ROUND trials.

    A trial is held against the best it had so far, as in Optuna's MedianPruner.
    """
    scored = [looks for looks in earlier if looks]
    if len(scored) < ROUND:
        return ()
    looked = sorted({step for looks in scored for step in looks if step < steps})
    return tuple((step, float(np.median([looks[step] for looks in scored if step in looks]))) for step in looked)


def _distribution(search: dict[str, Any]) -> Any:
    import optuna

    return optuna.distributions.FloatDistribution(search["low"], search["high"], log=search["log"])


def tune(tuner: Tuner, run: Callable[[list[Cell]], int]) -> None:
    """Run what was damaged since, then rounds until every study has its trials. ``run`` returns how many cells did not end well."""
    again: set[str] = set()
    while damaged := {name: cell for name, cell in tuner.damaged().items() if name not in again}:
        again |= damaged.keys()
        run(list(damaged.values()))
    while cells := tuner.cells():
        run(list(cells.values()))
        tuner.tell(cells)


def tuned(cells: list[Cell], store: Store) -> list[Cell]:
    """The cells with the best hparams that trials in the store found for each method, budget, dataset and protocol.

    Raises:
        BadInput: there is no trial for one of them.
    """
    trials = [
        record
        for folder in store.folders()
        if (record := folder.record()) and record.get("kind") == "trial" and record["outcome"] == "done"
    ]
    return [_tuned(cell, trials, store) for cell in cells]


def _tuned(cell: Cell, trials: list[dict[str, Any]], store: Store) -> Cell:
    found = [record for record in trials if _tunes(record, cell)]
    mine = [record for record in found if _is_current(record, cell)]
    if not mine:
        what = f"only trials of other code ({len(found)}) of" if found else "no trial of"
        raise BadInput(
            f"--hparams tuned: {store.root} holds {what} {cell.variant} with {cell.labels} labelled cases of {cell.dataset} at"
            f" protocol {cell.protocol.name}; expected some{' of this code' if found else ''}; run `tune` first"
        )
    whole = [record for record in mine if record["steps_done"] == record["steps"]]  # not pruned; trial 0 never is
    best = max(whole, key=lambda record: (record["validation_last"], record["cell"]))
    spent = Spent(trials=len(mine), steps=sum(r["steps_done"] for r in mine), seconds=round(sum(r["seconds"] for r in mine), 2))
    return cell.model_copy(update={"hparams": best["hparams"], "tuning": spent, "variant": f"{cell.variant} (tuned)"})


def _tunes(record: dict[str, Any], cell: Cell) -> bool:
    """Whether a trial is of the cell's method as the cell fixes it: same data, budget, protocol, switches."""
    same = {"dataset": cell.dataset, "method": cell.method, "labels": cell.labels, "data_hash": cell.data_hash}
    same["protocol_hash"] = digest(cell.protocol.rules())
    fixed = {name: value for name, value in cell.hparams.items() if name not in search_names(cell.method)}
    return all(record[key] == value for key, value in same.items()) and all(
        record["hparams"].get(name) == value for name, value in fixed.items()
    )


def _is_current(record: dict[str, Any], cell: Cell) -> bool:
    """Whether the code of now made a trial of the cell's method."""
    code = record.get("code")
    return is_current(cell.model_copy(update={"hparams": record["hparams"]}), Code(**code) if code else None)
