"""One Optuna study: which trials were asked for. What became of them stands in the store, and the study is told.

The store is the truth. A study is brought in line with it: trials that the store has and the study lacks are added, results that the study
has not heard of are told, and what was told otherwise before (a trial that failed, and has run since) is told again as another Optuna trial
of the same number of ours. Samplers see neither, but a study in memory made of the records, so that what is drawn depends on them alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from benchmark.ground.errors import BadInput
from benchmark.ground.ranges import distribution
from benchmark.records.identity import Cell
from benchmark.records.schema import BadRecord
from benchmark.records.scores import mean_scores
from benchmark.records.store import CellFolder, Store
from benchmark.study.pruning import Floors
from benchmark.study.spaces import Space

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "random", "nsga2"]
Objective = Literal["dsc", "nsd", "hd95"]
DIRECTIONS: dict[Objective, Literal["maximize", "minimize"]] = {"dsc": "maximize", "nsd": "maximize", "hd95": "minimize"}
POPULATION = 8
"""Trials of a generation of NSGA-II: of Optuna's 50 few budgets would see a second one."""

DRAWS = 50
"""So many draws that the method does not take are too many."""

NUMBER, FLOORS = "trial", "prune_below"
"""User attributes of Optuna's trials: our number, and where it was to be pruned."""


@dataclass(frozen=True)
class Known:
    """A trial that was asked for, and what the store says of it. ``values``: of the objectives; ``steps``: the protocol's until it is known
    to have had fewer; ``looks``: step to validation DSC; ``about``: what its user attributes tell.
    """

    number: int
    values_tried: dict[str, Any]
    cell: Cell
    outcome: Literal["waiting", "done", "pruned", "failed"]
    steps: int
    values: tuple[float, ...] = ()
    looks: tuple[tuple[int, float], ...] = ()
    about: dict[str, Any] | None = None


class SpaceStudy:
    """The trials of one space. ``cell_of`` makes a trial's cell of its number, values and floors; ``draw``: seed to sampler."""

    def __init__(
        self,
        space: Space,
        optuna_study: optuna.Study,
        store: Store,
        objectives: tuple[Objective, ...],
        cell_of: Callable[[str, int, dict[str, Any], Floors], Cell],
        sampler: Callable[[int], Any],
    ) -> None:
        self.space, self.study, self.store, self.objectives = space, optuna_study, store, objectives
        self.name = optuna_study.study_name
        self._cell_of, self._sampler = cell_of, sampler
        self._ranges = {name: distribution(found) for name, found in space.ranges.items()}
        self._cells: dict[int, tuple[dict[str, Any], Cell]] = {}
        self._scores: dict[tuple[str, str | None], dict[str, float]] = {}
        self.again: set[str] = set()
        """Cells of trials that failed, or whose files were damaged since, and that this command runs again."""
        self.given_up: set[str] = set()
        """Cells whose workers died too often in this command."""
        self._add_from_store()
        self.again |= {trial.cell.id for trial in self.known() if self._is_to_run_again(trial)}

    def _latest(self) -> dict[int, optuna.trial.FrozenTrial]:
        """By our number, the last Optuna trial of it."""
        asked = [trial for trial in self.study.get_trials(deepcopy=False) if NUMBER in trial.user_attrs]
        return {trial.user_attrs[NUMBER]: trial for trial in sorted(asked, key=lambda trial: trial.number)}

    def known(self) -> list[Known]:
        """Every trial that was asked for, in order."""
        return [trial for _, trial in self._pairs()]

    def best(self) -> Known | None:
        """The best finished trial, by the first objective; None where there is none."""
        done = [trial for trial in self.known() if trial.outcome == "done"]
        sign = 1 if DIRECTIONS[self.objectives[0]] == "maximize" else -1
        return max(done, key=lambda trial: (sign * trial.values[0], -trial.number), default=None)

    def _pairs(self) -> list[tuple[optuna.trial.FrozenTrial, Known]]:
        found = []
        for number, trial in sorted(self._latest().items()):
            if number not in self._cells:
                values = self.space.values(trial.params)
                floors = tuple((int(step), float(score)) for step, score in trial.user_attrs[FLOORS])
                self._cells[number] = values, self._cell_of(self.name, number, values, floors)
            found.append((trial, self._of_store(number, *self._cells[number])))
        return found

    def _of_store(self, number: int, values: dict[str, Any], cell: Cell) -> Known:
        folder, total = self.store.folder(cell), cell.protocol.steps
        record = None if cell.id in self.again else folder.record()
        trial = Known(number, values, cell, "waiting", total)
        if record is None:
            return replace(trial, outcome="failed") if cell.id in self.given_up else trial
        about = {
            "cell": cell.id,
            "seconds": record.get("seconds"),
            "steps": record.get("steps_done"),
            "error": record.get("error"),
        }
        about = {key: value for key, value in about.items() if value is not None}
        if record["outcome"] == "failed":
            return replace(trial, outcome="failed", about=about)
        looks = tuple((int(step), float(score)) for step, score in record["looks"])
        trial = replace(trial, steps=record["steps_done"], looks=looks, about=about)
        if record["steps_done"] < total:
            return replace(trial, outcome="pruned")
        key = (cell.id, record.get("ended"))
        if key not in self._scores:
            self._scores[key] = scores(folder, record, tuple(DIRECTIONS))
        found = self._scores[key]
        if not set(self.objectives) <= set(found):
            return replace(trial, outcome="failed", about=about | {"error": "a score that is searched for is not defined"})
        return replace(trial, outcome="done", values=tuple(found[name] for name in self.objectives), about=about | found)

    def _is_to_run_again(self, trial: Known) -> bool:
        return trial.outcome == "failed" or (
            trial.outcome != "waiting" and self.store.folder(trial.cell).damaged(read_all=False) != []
        )

    def _add_from_store(self) -> None:
        """Trials that the store has and the study lacks, in order: its journal may have been lost."""
        known = self._latest()
        found: dict[int, Cell] = {}
        for path in sorted(self.store.root.glob(f"*/{self.space.base.method}/*/cell.json")):
            try:
                cell = CellFolder(path.parent).cell()
            except (OSError, BadRecord):
                continue
            about = cell.trial
            mine = about is not None and about.study == self.name and about.found_at is None
            if mine and about and (about.number not in found or self.store.folder(cell).record()):
                found[about.number] = cell
        for number in range(len(known), len(known) + len(found)):
            if number not in found:
                return
            cell = found[number]
            self._write(number, self.space.values(cell.hparams), cell.trial.prune_below if cell.trial else (), cell.id)

    def _write(
        self, number: int, values: dict[str, Any], floors: Floors, cell: str, system: dict[str, Any] | None = None
    ) -> None:
        """Put a trial down, at once and whole."""
        import optuna

        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=values,
            distributions=self._ranges,
            user_attrs={NUMBER: number, "cell": cell, FLOORS: [list(pair) for pair in floors]},
            system_attrs=system,
        )
        self.study.add_trial(trial)

    def ask(self, number: int, floors: Floors, given: dict[str, Any] | None = None) -> None:
        """Trial ``number`` with these values, or with drawn ones. What the method refuses is drawn anew and written nowhere.

        Raises:
            BadInput: the method refuses one draw after the other.
        """
        if given is not None:
            self._write(number, given, floors, self._cell_of(self.name, number, given, floors).id)
            return
        memory = self._in_memory()
        reason = ""
        for attempt in range(DRAWS):
            memory.sampler = self._sampler(number + 1_000_000 * attempt)
            drawn = memory.ask(self._ranges)
            values = self.space.values(drawn.params)
            try:
                cell = self._cell_of(self.name, number, values, floors)
            except BadInput as error:
                reason = str(error)
                continue
            self._write(number, values, floors, cell.id, memory.get_trials(deepcopy=False)[-1].system_attrs)
            return
        raise BadInput(f"{reason}; {DRAWS} draws in the ranges were refused; expected ranges whose values go together")

    def _in_memory(self) -> optuna.Study:
        """What the store says of all trials, as a study for samplers."""
        import optuna

        memory = optuna.create_study(directions=[DIRECTIONS[objective] for objective in self.objectives])
        for trial, known in self._pairs():
            memory.add_trial(self._frozen(known, trial.system_attrs))
        return memory

    def _frozen(self, known: Known, system: dict[str, Any] | None = None) -> optuna.trial.FrozenTrial:
        import optuna

        return optuna.trial.create_trial(
            state=_state(known),
            values=list(known.values) or None,
            params=known.values_tried,
            distributions=self._ranges,
            user_attrs=self._about(known),
            system_attrs=system,
            intermediate_values=dict(known.looks) if len(self.objectives) == 1 else None,
        )

    def _about(self, known: Known) -> dict[str, Any]:
        """What users of Optuna's tools see of a trial."""
        trial = known.cell.trial
        floors = [list(pair) for pair in trial.prune_below] if trial else []
        return {NUMBER: known.number, FLOORS: floors, "cell": known.cell.id} | (known.about or {})

    def tell(self) -> None:
        """Bring the study in line with the store."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        for trial, known in self._pairs():
            if known.outcome == "waiting":
                continue
            if trial.state == running:
                self._finish(trial, known)
            elif trial.state != _state(known) or not _same(trial, known):
                self.study.add_trial(self._frozen(known, trial.system_attrs))

    def _finish(self, trial: optuna.trial.FrozenTrial, known: Known) -> None:
        import optuna

        live = optuna.trial.Trial(self.study, trial._trial_id)
        for name, value in self._about(known).items():
            if name not in trial.user_attrs:
                live.set_user_attr(name, value)
        if len(self.objectives) == 1:
            for step, seen in known.looks:
                live.report(seen, step)
        self.study.tell(trial.number, list(known.values) or None, state=_state(known), skip_if_finished=True)


def scores(folder: CellFolder, record: dict[str, Any], objectives: tuple[Objective, ...]) -> dict[str, float]:
    """What a finished trial is worth on the validation cases, by objective: the DSC of its last look, or the mean of another metric; of the
    objectives those that are defined.
    """
    found: dict[str, float | None] = {"dsc": record["validation_last"]}
    if set(objectives) != {"dsc"}:
        with contextlib.suppress(OSError, ValueError, KeyError):  # a table that is none is no score
            means = mean_scores(folder, record)
            found |= {objective: means.get(("validation", "last", objective)) for objective in objectives if objective != "dsc"}
    return {name: value for name in objectives if (value := found.get(name)) is not None and math.isfinite(value)}


def _state(known: Known) -> Any:
    from optuna.trial import TrialState

    states = {"waiting": "RUNNING", "done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    return TrialState[states[known.outcome]]


def _same(trial: optuna.trial.FrozenTrial, known: Known) -> bool:
    """Whether a finished trial has the values that the store has."""
    if known.outcome != "done":
        return True
    told = trial.values or []
    return len(told) == len(known.values) and all(map(math.isclose, told, known.values))


def running_rounds(trials: list[Known], size: int) -> Iterator[Known]:
    """The trials of the first round that has some without a result."""
    waiting = [trial for trial in trials if trial.outcome == "waiting"]
    return (trial for trial in waiting if trial.number // size == waiting[0].number // size)
