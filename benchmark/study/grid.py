"""Grids: from the words of a command to the cells that it asks for.

Methods are a comma list in the words of ``benchmark.ground.grammar``, e.g. ``cctr[rsl=false,reps=false],cps``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from benchmark.ground import registry
from benchmark.ground.errors import BadInput, quoted, short
from benchmark.ground.grammar import WHOLE, as_typed, split_item, split_list
from benchmark.ground.protocol import Protocol
from benchmark.records.identity import Cell

if TYPE_CHECKING:
    from datasets.dataset import Dataset


RECORDED = re.compile(r"\d{1,15}", re.ASCII)
"""A whole number that records and JSON hold to the last digit."""

MOST_RUNS = 10_000
"""More is a slip of the finger, and would fill memory with cells."""

NOT_READ = "not read"
"""In place of the hash of data that a plan does without; cells of it have no id yet."""


@dataclass(frozen=True)
class Selection:
    """A method as named on the command line, with all its hparams resolved."""

    method: str
    variant: str
    hparams: dict[str, Any]


def parse_methods(text: str) -> list[Selection]:
    """The methods that a comma list names; ``all`` is every method with its defaults.

    Raises:
        BadInput: bad grammar, an unknown method, an unknown hparam or a value that it refuses.
    """
    items = registry.entries("methods") if text.strip() == "all" else split_list(text)
    names = [split_item("--methods", item) for item in items]
    for name, _ in names:  # all names are checked before the first import of a method: a typo answers at once
        registry.check_name("methods", name)
    selections = [resolve("--methods", name, given) for name, given in names]
    if not selections:
        raise BadInput("--methods names no method; expected a comma list such as cctr,cps")
    return list({s.variant: s for s in selections}.values())


def resolve(option: str, name: str, given: dict[str, Any]) -> Selection:
    """The method with these values, its other hparams at their defaults; ``option`` is named in errors.

    Raises:
        BadInput: an unknown hparam or a value that it refuses.
    """
    schema = registry.load("methods", name).Hparams  # type: ignore[attr-defined]
    try:
        hparams = schema(**given).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(schema.model_fields) or "none"
        where = ".".join(map(str, first["loc"]))
        wrong = f"{name}[{short(where)}={short(as_typed(first['input']))}]"
        raise BadInput(f"{option}: {wrong}: {first['msg'].lower()}; {name}'s parameters: {known}") from None
    defaults = schema().model_dump(mode="json")
    changed = [f"{key}={as_typed(value)}" for key, value in hparams.items() if value != defaults[key]]
    return Selection(name, f"{name}[{','.join(changed)}]" if changed else name, hparams)


def parse_labels(text: str, available: int) -> list[int]:
    """Budgets from a comma list of case counts, or ``all``.

    Raises:
        BadInput: not a number, below 1, or more than the ``available`` training cases.
    """
    budgets = []
    for item in split_list(text):
        if item != "all" and not WHOLE.fullmatch(item):
            raise BadInput(f"--labels: {quoted(item)} is not a number of cases; expected e.g. 1,3,7 or all")
        count = available if item == "all" else int(item)
        if not 1 <= count <= available:
            raise BadInput(
                f"--labels: {count} cases cannot be labelled; expected 1 to {available}, the number of training cases"
            )
        budgets.append(count)
    if not budgets:
        raise BadInput("--labels names no budget; expected a comma list such as 1,3,7, or all")
    return list(dict.fromkeys(budgets))


def parse_numbers(option: str, text: str) -> list[int]:
    """A comma list of whole numbers from 0 up.

    Raises:
        BadInput: anything else, naming ``option``.
    """
    items = split_list(text)
    if not items or any(not RECORDED.fullmatch(item) for item in items):
        raise BadInput(f"{option}: {quoted(text)} is not a comma list of whole numbers such as 0,1,2")
    return list(dict.fromkeys(int(item) for item in items))


def expand(
    dataset: Dataset,
    selections: list[Selection],
    budgets: list[int],
    runs: list[tuple[int, int]],
    protocol: Protocol,
    command: str,
    folds: int | None = None,
    contents: str | None = None,
) -> list[Cell]:
    """All cells: each selection at each budget for each run (draw, seed). Runs are outermost, then budgets, so that whole comparisons
    complete early; at a budget, selections come in the order in which they were named.

    folds: of a cross-validation, in each of which the draws label cases of their own. contents: the hash of the data, where it is known.
    """
    from datasets.contents import hash_of
    from datasets.draws import labelled_cases
    from datasets.folds import fold_split

    data_hash, groups = contents or hash_of(dataset), dataset.train_groups
    parts = [(number, folds) for number in range(folds)] if folds else [None]
    trains = {fold: fold_split(dataset, fold).train if fold else dataset.split.train for fold in parts}
    return [
        Cell(
            dataset=dataset.name,
            data_hash=data_hash,
            method=selection.method,
            variant=selection.variant,
            hparams=selection.hparams,
            labels=budget,
            draw=draw,
            seed=seed,
            labelled=labelled_cases(dataset.name, trains[fold], budget, draw, groups),
            fold=fold,
            protocol=protocol,
            data=dataset.path,
            command=command,
        )
        for draw, seed in runs
        for budget in budgets
        for selection in selections
        for fold in parts
    ]


def parse_runs(runs: int | None, draws: str | None, seeds: str | None) -> list[tuple[int, int]]:
    """(draw, seed) pairs: run r is draw r with seed r; or all draws crossed with all seeds.

    Raises:
        BadInput: both ways at once, or not a list of whole numbers.
    """
    if runs is not None and runs > MOST_RUNS:
        raise BadInput(f"--runs: found {runs}; expected at most {MOST_RUNS}")
    if draws is None and seeds is None:
        return [(r, r) for r in range(runs or 1)]
    if runs is not None:
        raise BadInput("--runs pairs draws with seeds; expected either --runs, or --draws and --seeds, not both")
    return [(d, s) for d in parse_numbers("--draws", draws or "0") for s in parse_numbers("--seeds", seeds or "0")]
