"""What trials found, put to use: the best values of a method at a budget, as cells to run and as starts of another search."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import BadInput, quoted
from benchmark.ground.grammar import WHOLE, split_list
from benchmark.ground.protocol import Protocol
from benchmark.ground.ranges import contains
from benchmark.ground.registry import NAME
from benchmark.records.fingerprint import Code, is_current
from benchmark.records.identity import Cell, Spent, digest
from benchmark.records.store import CellFolder, Store
from benchmark.study.spaces import Space, search_names
from benchmark.study.studies import DIRECTIONS, Objective, scores

if TYPE_CHECKING:
    pass

Found = tuple[CellFolder, dict[str, Any]]
"""A finished trial: its folder and its record."""


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """What trials are compared by, from ``dsc``, ``nsd``, ``hd95``, or two of them.

    Raises:
        BadInput: anything else.
    """
    names = split_list(text)
    known: tuple[Objective, ...] = tuple(name for name in DIRECTIONS if name in names)
    if not 1 <= len(names) <= 2 or len(known) != len(names):
        raise BadInput(f"--objective: found {quoted(text)}; expected {', '.join(DIRECTIONS)}, or two of them such as dsc,hd95")
    return tuple(sorted(known, key=names.index))


def parse_hparams(text: str) -> tuple[bool, Objective | None]:
    """Whether the best that `tune` found is to be used, and by which objective, from ``published``, ``tuned`` or ``tuned:nsd``.

    Raises:
        BadInput: anything else.
    """
    kind, colon, objective = text.partition(":")
    if text not in ("published", "tuned") and not (kind == "tuned" and objective in DIRECTIONS):
        raise BadInput(
            f"--hparams: found {quoted(text)}; expected published, tuned, or tuned and what was searched for, such as tuned:hd95"
        )
    return kind == "tuned", next((name for name in DIRECTIONS if colon and name == objective), None)


def parse_starts(text: str | None) -> tuple[str, ...]:
    """Where first values come from, from a comma list of budgets of the same dataset and of other datasets.

    Raises:
        BadInput: an item is neither.
    """
    items = split_list(text or "")
    for item in items:
        if not (WHOLE.fullmatch(item) or re.fullmatch(NAME, item)):
            raise BadInput(f"--warm-start: {quoted(item)} is neither a budget nor a dataset; expected e.g. 3 or acdc")
    if text is not None and not items:
        raise BadInput("--warm-start names nothing; expected budgets or datasets, e.g. 3 or acdc")
    return tuple(dict.fromkeys(items))


def finished_trials(store: Store) -> list[Found]:
    """The finished trials of studies; of those that a transfer ran, none."""
    found = [(folder, record) for folder in store.folders() if (record := folder.record())]
    return [(f, r) for f, r in found if r.get("kind") == "trial" and r["outcome"] == "done" and not r["trial"].get("found_at")]


def tuned(cells: list[Cell], store: Store, objective: Objective | None = None) -> list[Cell]:
    """The cells with the best hparams that trials in the store found for each method, budget, dataset and protocol.

    objective: of trials that searched for different ones, those that count; of two objectives of a trial, its first.

    Raises:
        BadInput: there is no trial for one of them, or they searched for different objectives.
    """
    trials = finished_trials(store)
    return [_tuned(cell, trials, store, objective) for cell in cells]


def _tuned(cell: Cell, trials: list[Found], store: Store, objective: Objective | None) -> Cell:
    found = [pair for pair in trials if _tunes(pair[1], cell)]
    mine = [pair for pair in found if _is_current(pair[1], cell)]
    searched = sorted({_objective(record) for _, record in mine})
    if objective is None and len(searched) > 1:
        raise BadInput(
            f"--hparams tuned: {store.root} holds trials of {cell.variant} that searched for {' and for '.join(searched)}; say which,"
            f" such as tuned:{searched[0]}"
        )
    mine = [pair for pair in mine if objective in (None, _objective(pair[1]))]
    if not mine:
        what = f"only trials of other code ({len(found)}) of" if found and not searched else "no trial of"
        goal = f" that searched for {objective}" if objective else ""
        raise BadInput(
            f"--hparams tuned: {store.root} holds {what} {cell.variant} with {cell.labels} labelled cases of {cell.dataset} at"
            f" protocol {cell.protocol.name}{goal}; expected some{' of this code' if found else ''}; run `tune` first"
        )
    records = [record for _, record in mine]
    spent = Spent(
        trials=len(mine), steps=sum(r["steps_done"] for r in records), seconds=round(sum(r["seconds"] for r in records), 2)
    )
    best = _best(mine)
    return cell.model_copy(update={"hparams": best["hparams"], "tuning": spent, "variant": f"{cell.variant} (tuned)"})


def _objective(record: dict[str, Any]) -> Objective:
    """What a trial's study searched for, or searched for first."""
    return (record["trial"].get("objectives") or ["dsc"])[0]


def _best(trials: list[Found]) -> dict[str, Any]:
    """The record of the best trial; pruned ones are none, and trial 0 is never pruned."""
    whole = [(folder, record) for folder, record in trials if record["steps_done"] == record["steps"]]
    ranked = []
    for folder, record in whole:
        objective = _objective(record)
        value = scores(folder, record, (objective,)).get(objective)
        if value is not None:
            ranked.append(((value if DIRECTIONS[objective] == "maximize" else -value, record["cell"]), record))
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else whole[0][1]


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


def warm_starts(
    spaces: list[Space], sources: tuple[str, ...], dataset: str, protocol: Protocol, store: Store
) -> list[list[dict[str, Any]]]:
    """By space, the best values that the method's trials at the same protocol found elsewhere: in ``sources``, each a budget of the same
    dataset, or another dataset at the same budget. What lies outside of the space is left out, as is a space's own budget.

    Raises:
        BadInput: the store has no trial of a method there.
    """
    trials = finished_trials(store) if sources else []
    rules = digest(protocol.rules())
    starts = []
    for space in spaces:
        given: list[dict[str, Any]] = []
        for source in sources:
            labels, where = (int(source), dataset) if WHOLE.fullmatch(source) else (space.labels, source)
            if (labels, where) == (space.labels, dataset):
                continue
            about = {"dataset": where, "labels": labels, "method": space.base.method, "protocol_hash": rules}
            found = [pair for pair in trials if all(pair[1][key] == value for key, value in about.items())]
            if not found:
                raise BadInput(
                    f"--warm-start: {store.root} holds no trial of {space.base.method} with {labels} labelled cases of {where} at"
                    f" protocol {protocol.title}; run `tune` there first"
                )
            best = space.published | {key: value for key, value in _best(found)["hparams"].items() if key in space.ranges}
            if all(contains(found_in, best[name]) for name, found_in in space.ranges.items()) and best not in given:
                given.append(space.values(best))
        starts.append([values for values in given if values != space.published])
    return starts
