"""Which networks predict: a cell, the best cell of a store, runs together, or a packaged model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.cell.experiment import dataset_of
from benchmark.cell.prediction import (
    Knowledge,
    Predictor,
    helped_by_largest,
    is_propagator,
    knowledge_of,
    networks_of,
    propagator_of,
    ready,
)
from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum, read_plain
from benchmark.records.fingerprint import Code, what_changed
from benchmark.records.identity import Cell
from benchmark.records.schema import MAX_BYTES, BadRecord
from benchmark.records.store import WEIGHTS, CellFolder, Store
from datasets.prepared import Prepared

if TYPE_CHECKING:
    import torch

MODEL = "model.json"


class Package(BaseModel):
    """``model.json``: the cells, the code that made each, what their networks know, and the checksum of each file of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = 1
    cells: tuple[Cell, ...]
    codes: tuple[Code | None, ...]
    knowledge: Knowledge
    weights: dict[str, str]


@dataclass(frozen=True)
class Loaded:
    """What predicts, the dataset that it comes from (None: a package), the code that made each cell, and what people should know."""

    predictor: Predictor
    dataset: Prepared | None
    codes: tuple[Code | None, ...]
    told: tuple[str, ...]

    def choosing_largest(self) -> Predictor:
        """The predictor, knowing of which classes to keep the largest component alone: chosen on the validation cases, if any."""
        if self.dataset is None or self.predictor.propagates:
            return self.predictor
        volumes = [volume for case in self.dataset.split.val for volume in self.dataset.read(case, labels=True)]
        largest = helped_by_largest(self.predictor, volumes) if volumes else None
        return replace(self.predictor, knowledge=self.predictor.knowledge.model_copy(update={"largest": largest}))


@contextmanager
def loaded(where: Path, packaged: bool, cell: str | None, ensemble: bool, data: Path | None, device: str) -> Iterator[Loaded]:
    """What a store (``cell``; None: the best on validation) or a packaged model in ``where`` predicts with.

    ensemble: with all finished runs like the cell. data: where the dataset lies, if it is not in the store's cache.

    Raises:
        BadInput: there is no such cell or model, its data is not at hand, or its weights do not fit.
    """
    at = ready(device)
    if packaged:
        package, predictor = of_package(where, at)
        yield Loaded(predictor, None, package.codes, tuple(outdated(package.cells, package.codes)))
        return
    store = Store(where)
    chosen, why = the_cell(store, cell)
    cells = runs_like(store, chosen) if ensemble else [chosen]
    codes = tuple(store.folder(one).code() for one in cells)
    told = (f"{why}{f', with {len(cells) - 1} runs like it' if ensemble else ''}", *outdated(cells, codes))
    with TemporaryDirectory() as spare:
        cache = store.registrations if os.access(store.root, os.W_OK) else Path(spare)
        predictor, dataset = of_store(cells, store, data, at, cache)
        yield Loaded(predictor, dataset, codes, told)


def the_cell(store: Store, wanted: str | None) -> tuple[Cell, str]:
    """The finished cell of this id, or with None the one that does best on the validation cases; and why it was taken.

    Raises:
        BadInput: there is no such cell, or nothing tells which is best.
    """
    store.expect()
    if wanted is not None:
        return _read(folder := _found(store, wanted)), f"cell {folder.path.name}"
    scored = []
    for folder in store.planned():
        record = folder.record() or {}
        if record.get("outcome") == "done" and record["kind"] != "trial" and record.get("validation_last") is not None:
            scored.append((record["validation_last"], record["dataset"], folder))
    if len(datasets := sorted({dataset for _, dataset, _ in scored})) != 1:
        found = f"cells of {', '.join(datasets)}" if datasets else "no finished cell that was scored on validation cases"
        raise BadInput(
            f"--best: {store.root} holds {found}; expected those of one dataset; name a cell with --cell (`ls cells`)"
        )
    score, _, folder = max(scored, key=lambda one: (one[0], one[2].path.name))
    cell = _read(folder)
    return cell, f"best on validation ({score:.3f} DSC): {cell}, cell {cell.id}"


def _found(store: Store, wanted: str) -> CellFolder:
    found = [folder for folder in store.planned() if folder.path.name == wanted]
    if not found:
        raise BadInput(f"--cell: {store.root} holds no cell {wanted}; expected an id that `ls cells` shows")
    return found[0]


def _read(folder: CellFolder) -> Cell:
    if not folder.done("cell.json", "record.json", WEIGHTS):
        raise BadInput(
            f"{folder.path} is not finished, or its weights are not there or not as they were written; expected them; run it again"
        )
    try:
        return folder.cell()
    except BadRecord as error:
        raise BadInput(f"{error}; expected a cell of this version; run it again") from None


def runs_like(store: Store, cell: Cell) -> list[Cell]:
    """The finished runs of the cell's variant with as many labels under the same rules, the cell first."""
    found = [cell]
    for folder in store.planned():
        try:
            other = folder.cell()
        except (OSError, BadRecord):
            continue
        if other.id != cell.id and _variant(other) == _variant(cell) and folder.done("cell.json", "record.json", WEIGHTS):
            found.append(other)
    return found


def _variant(cell: Cell) -> tuple[object, ...]:
    return (cell.dataset, cell.data_hash, cell.method, cell.hparams, cell.labels, cell.kind, cell.fold, cell.protocol.rules())


def of_store(
    cells: Sequence[Cell], store: Store, data: Path | None, device: torch.device, cache: Path
) -> tuple[Predictor, Prepared]:
    """What the cells' last weights predict with, and their dataset. data: where it lies, if it is not in the store's cache. cache: of
    registrations.

    Raises:
        BadInput: the data is not at hand, or the weights do not fit.
    """
    dataset = dataset_of(cells[0].model_copy(update={"data": data}), store)
    knowledge = knowledge_of(dataset)
    if is_propagator(cells[0]):
        if len(cells) > 1:
            raise BadInput(f"--ensemble: {cells[0].method} has no probabilities to average; expected a method that trains")
        return Predictor(knowledge, (cells[0],), (propagator_of(cells[0], dataset, device, cache),), device), dataset
    methods = [networks_of(cell, knowledge, (store.folder(cell).path / WEIGHTS).read_bytes(), device) for cell in cells]
    return Predictor(knowledge, tuple(cells), tuple(methods), device), dataset


def outdated(cells: Sequence[Cell], codes: Sequence[Code | None]) -> list[str]:
    """A sentence for each cell that other code made."""
    changed = {cell.id: what_changed(cell, code) for cell, code in zip(cells, codes, strict=True)}
    return [f"cell {name} was made by other code than this ({words})" for name, words in changed.items() if words]


def of_package(folder: Path, device: torch.device) -> tuple[Package, Predictor]:
    """A packaged model, and what it predicts with.

    Raises:
        BadInput: the folder holds none, a file is not as it was written, or the weights do not fit.
    """
    try:
        package = Package.model_validate_json(read_plain(folder / MODEL, MAX_BYTES))
    except OSError:
        raise BadInput(f"--model: {folder} has no {MODEL}; expected a folder that `package` has written") from None
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise BadInput(f"--model: {folder / MODEL} is no model of this version ({reason}); package it again") from None
    methods = []
    for cell in package.cells:
        name = f"{cell.id}.safetensors"
        try:
            content = read_plain(folder / name)
        except OSError:
            content = b""
        if checksum(content) != package.weights.get(name):
            raise BadInput(f"--model: {folder / name} is missing or not as it was written; expected it; copy the folder again")
        methods.append(networks_of(cell, package.knowledge, content, device))
    return package, Predictor(package.knowledge, package.cells, tuple(methods), device)
