"""Trials without training: what a worker would leave behind, from imagined scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.protocol import Protocol
from benchmark.ground.rules import get_protocol
from benchmark.records.fingerprint import code_of
from benchmark.records.identity import Cell
from benchmark.records.schema import describe_cell
from benchmark.records.store import CASE_COLUMNS, Store
from benchmark.records.table import collect
from benchmark.study.grid import parse_methods
from benchmark.study.spaces import Space, search_space
from benchmark.study.tuning import Search, Tuner
from datasets.dataset import Dataset
from reports.tables.tuning import studies_of, trials_of


def score(cell: Cell) -> float:
    """An imagined validation score with its best at a learning rate of 3 times the protocol's."""
    return 0.9 - abs(np.log(cell.hparams["learning_rate"] / 3)) / 10


def pretend(
    store: Path,
    ran: list[Cell] | None = None,
    lose: Callable[[Cell], bool] = lambda cell: False,
    fail: Callable[[Cell], bool] = lambda cell: False,
    score: Callable[[Cell], float] = score,
) -> Callable[[list[Cell]], int]:
    """Writes records instead of training, as a session does: finished cells are left alone, and those that are lost leave nothing. Scores
    grow with the steps, the same for all; HD95 is 100 - 100 times the score, at a learning rate of 1 or less a tenth of that.
    """

    def run(cells: list[Cell]) -> int:
        for cell in cells:
            folder = Store(store).folder(cell)
            if folder.done():
                continue
            if ran is not None:
                ran.append(cell)
            if lose(cell):
                continue
            assert cell.trial is not None
            folder.plan(cell)
            about = describe_cell(cell) | {"seconds": 1.0, "code": code_of(cell).model_dump(), "reported": "network"}
            if fail(cell):
                folder.write("record.json", json.dumps(about | {"outcome": "failed", "error": "Diverged: nan"}))
                continue
            total, looks = cell.protocol.steps, []
            for look in range(1, cell.protocol.validations + 1):
                step = round(total * look / cell.protocol.validations)
                looks.append((step, score(cell) * step / total))
                if looks[-1][1] < dict(cell.trial.prune_below).get(step, 0):
                    break
            record = about | {"outcome": "done", "validation_last": looks[-1][1], "looks": looks, "steps_done": looks[-1][0]}
            near = 0.1 if cell.hparams["learning_rate"] <= 1 else 1.0
            values = {"dsc": looks[-1][1], "nsd": looks[-1][1] / 2, "hd95": 100 * near * (1 - looks[-1][1])}
            rows = [f"validation,c,c,lv,network,last,{metric},{value}" for metric, value in values.items()]
            cases = "\n".join([",".join(CASE_COLUMNS), *rows]) + "\n"
            files = {"record.json": json.dumps(record), "cases.csv": cases, "cell.json": cell.model_dump_json()}
            folder.finish(files)
        return 0

    return run


def spaces(methods: str, labels: int = 1) -> list[Space]:
    """The spaces of methods at a budget."""
    return [search_space(selection, labels) for selection in parse_methods(methods)]


def protocol(steps: int = 20, validations: int = 2) -> Protocol:
    """Smoke, of other length."""
    return get_protocol("smoke").model_copy(update={"steps": steps, "validations": validations})


def make(
    dataset: Dataset, store: Path, methods: str = "mean_teacher,cps", rules: Protocol | None = None, **search: Any
) -> Tuner:
    """A tuner of ``methods`` at one labelled case; search: as in ``Search``."""
    how = Search(**({"trials": 10} | search))
    return Tuner(dataset, spaces(methods), rules or protocol(), how, Store(store), "python -m benchmark tune")


def results(tuner: Tuner) -> list[dict]:
    """What the report says of the tuner's studies."""
    rows = studies_of(trials_of(collect(tuner.store))).set_index("study", drop=False)
    return rows.loc[tuner.names()].to_dict("records")


def tried(tuner: Tuner) -> list[list[dict[str, Any]]]:
    """The values of each study's trials, as Optuna holds them."""
    return [[dict(t.params) for t in study.study.get_trials()] for study in tuner.studies]
