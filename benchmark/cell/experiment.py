"""run_cell: load, build, train, evaluate, record. It reads like a method section."""

from __future__ import annotations

import functools
import json
import math
import os
import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmark.cell.evaluation import evaluate, never_predicted, validation_score
from benchmark.cell.training import Fitted, Interrupted, Progress, fit, history_csv
from benchmark.ground import environment, registry
from benchmark.ground.errors import DiskFull
from benchmark.ground.files import UNWRITABLE, disk_full_is_told
from benchmark.ground.redaction import for_records
from benchmark.records.fingerprint import HARNESS, Code, code_of
from benchmark.records.identity import Cell, digest
from benchmark.records.schema import describe_cell
from benchmark.records.store import BEST, CASE_COLUMNS, PROGRESS, WEIGHTS, CellFolder, Store
from datasets.dataset import Volume
from datasets.folds import folded
from datasets.prepared import Prepared
from datasets.preparing import prepare
from datasets.registration import Registrations, candidates
from datasets.resized import resized_once
from datasets.slices import SliceBank
from methods.method import Method, Propagator, Task, count_parameters

TELL_SECONDS = 1.0
MAX_ERROR, MAX_TRACEBACK = 10_000, 200_000
OUT_OF_MEMORY = "run fewer cells side by side (--jobs, --cells-per-gpu), or a protocol with smaller images or batches"


def training_volumes(dataset: Prepared, labelled: tuple[str, ...]) -> tuple[Volume, ...]:
    """All training volumes in canonical order, read when they are looked at; only those of ``labelled`` cases carry their mask."""
    cases = (*dataset.split.train, *dataset.split.unlabelled)
    return tuple(v for case in cases for v in dataset.on_demand(case, labels=case in labelled))


def dataset_of(cell: Cell, store: Store) -> Prepared:
    """The cell's data, from the store's cache or from where it lies, with the split of the cell's fold."""
    return folded(prepare(cell.dataset, cell.data, store.datasets, data_hash=cell.data_hash), cell.fold)


def run_cell(
    cell: Cell,
    store: Store,
    device: str,
    tell: Callable[[Progress], None] = lambda progress: None,
    stopping: Callable[[], bool] = lambda: False,
) -> str:
    """Run one cell unless it is done.

    Returns:
        "done"; "failed" or "out of memory" (a record holds the error); "busy" (another process has it, or took it over).

    Raises:
        Interrupted: ``stopping`` said so; the checkpoint is written.
        DiskFull: nothing more can be written; the checkpoint before is whole.
    """
    folder = store.folder(cell)
    with folder.lock() as hold:
        if hold is None:
            return "busy"
        if folder.done(replaces=cell.replaces):
            return "done"
        folder.begin()
        folder.plan(cell)
        code: Code | None = None
        try:
            code = code_of(cell)
            telling = _telling(folder, device, code, tell)
            files = _run(cell, store, folder, device, code, telling, lambda: stopping() or hold.lost)
            if hold.lost:
                return "busy"
            folder.finish(files)
            return "done"
        except (Interrupted, DiskFull):
            if hold.lost:
                return "busy"
            raise
        except Exception as error:  # a failed cell is a record; the grid goes on
            with disk_full_is_told(store.root):
                if isinstance(error, OSError) and error.errno in UNWRITABLE:
                    raise
                full = _out_of_memory(error, device)
                folder.write("record.json", json.dumps(_failure(cell, device, code, error), indent=1))
            folder.clear(PROGRESS)
            return "out of memory" if full else "failed"


def _telling(folder: CellFolder, device: str, code: Code, tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Passes progress on, and notes it in the folder every few seconds with who runs the cell, where, since when and with which code."""
    about = {"host": socket.gethostname(), "process": os.getpid(), "device": device, "since": time.time(), "code": code.id}
    last = -math.inf

    def told(progress: Progress) -> None:
        nonlocal last
        tell(progress)
        if time.monotonic() - last >= TELL_SECONDS:
            last = time.monotonic()
            folder.tell(about | vars(progress) | {"memory": environment.gpu_memory(device)})

    return told


def _out_of_memory(error: Exception, device: str) -> bool:
    """Whether the error says so; what the cell held is given back then, and advice is added to the error."""
    if not isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return False
    traceback.clear_frames(error.__traceback__)
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    error.add_note(OUT_OF_MEMORY)
    return True


def _run(
    cell: Cell,
    store: Store,
    folder: CellFolder,
    device_name: str,
    code: Code,
    tell: Callable[[Progress], None],
    stopping: Callable[[], bool],
) -> dict[str, bytes | str]:
    """Train and evaluate a cell; returns its final files."""
    environment.make_deterministic()
    environment.reset_peak_memory(device_name)
    device = torch.device(device_name)
    dataset = dataset_of(cell, store)
    protocol = cell.protocol

    method = _build(cell, dataset, device, store)

    validation = [v for case in dataset.split.val for v in dataset.on_demand(case, labels=True)]
    score = functools.partial(
        validation_score, volumes=validation, classes=dataset.scored(dataset.split.val), protocol=protocol, device=device
    )
    if isinstance(method, Propagator):
        fitted = Fitted(best_state={}, best_step=0)
    else:
        floor = dict(cell.trial.prune_below) if cell.trial else None
        fitted = fit(
            method,
            cell.seed,
            folder,
            score if validation else None,
            tell,
            stopping,
            floor,
            code.id,
        )
    last_state = {key: value.detach().cpu().clone() for key, value in method.state_dict().items()}
    never = None
    if validation and isinstance(method, Method):
        never = never_predicted(method, validation, dataset.classes, protocol, device)
    began = time.perf_counter()
    cases = _test(method, dataset, cell, fitted, device, validation)
    if isinstance(method, Propagator):
        fitted.seconds = time.perf_counter() - began  # all its work is here
    record = describe_cell(cell) | {
        "outcome": "done",
        "error": None,
        "seconds": round(fitted.seconds, 2),
        "parameters": count_parameters(method),
        "effective": method.effective,
        "passes": round(fitted.passes, 3),
        "peak_memory_mb": round(environment.peak_memory_mb(device_name), 1),
        "reported": cases["network"].iloc[0],
        "best_step": fitted.best_step,
        "steps_done": fitted.steps,
        "looks": fitted.looks,
        "never_predicted": never,
        "validation": fitted.best_score if fitted.best_state else None,
        "validation_last": fitted.looks[-1][1] if fitted.looks else None,
        "train_cases": len(dataset.split.train) + len(dataset.split.unlabelled),
        "val_cases": len(dataset.split.val),
        "spacing_unit": "mm" if dataset.spacing_known else "voxel",
        **_made_by(code),
        "environment": environment.describe(device_name),
    }
    best: dict[str, bytes | str] = {}
    if fitted.best_state and fitted.best_step < fitted.steps and not cell.trial:
        best[BEST] = _saved(fitted.best_state)
    return best | {
        "cell.json": cell.model_dump_json(indent=1),
        "history.csv": history_csv(fitted),
        WEIGHTS: _saved(last_state),
        "cases.csv": cases.to_csv(index=False),
        "record.json": json.dumps(record, indent=1),
    }


def _build(cell: Cell, dataset: Prepared, device: torch.device, store: Store) -> Method | Propagator:
    """The cell's method on its training slices, initialised from its seed."""
    volumes, size = training_volumes(dataset, cell.labelled), cell.protocol.image_size
    name = "-".join([cell.dataset, digest([cell.data_hash, cell.fold, HARNESS])])
    bank = SliceBank(volumes, size, device, resized_once(volumes, size, store.slices, name))
    return build(cell, bank, (len(dataset.classes), dataset.channels), store.registrations)


def build(cell: Cell, bank: SliceBank, sizes: tuple[int, int], cache: Path | None) -> Method | Propagator:
    """As ``_build``, on these slices. sizes: numbers of classes and of channels. cache: of registrations; None: none is asked for."""
    volumes, device = bank.volumes, bank.device
    labelled = [volume for volume in volumes if volume.labelled]
    task = Task(
        *sizes,
        cell.protocol,
        bank,
        lambda recipe: Registrations.load(volumes, recipe, cache, device) if cache else Registrations.none(volumes),
        lambda volume, recipe: candidates(labelled, volume, recipe, cache, device) if cache else [],
    )
    torch.manual_seed(cell.seed)
    method_class = registry.load("methods", cell.method)
    method: Method | Propagator = method_class(task, method_class.Hparams(**cell.hparams)).to(device)  # type: ignore[attr-defined]
    return method


class ReportedNetwork(nn.Module):
    """The reported network of a method alone: images (N, C, P, P), as ``datasets.slices`` makes them, to class probabilities."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor:
        """Class probabilities (N, K, P, P) of images (N, C, P, P)."""
        return next(iter(self.method.predictions(image).values()))


def finished_method(cell: Cell, store: Store, device: str = "cpu") -> tuple[Method | Propagator, Prepared]:
    """A finished cell's method with its last weights, in evaluation mode; and the dataset."""
    dataset = dataset_of(cell, store)
    method = _build(cell, dataset, torch.device(device), store)
    method.load_state_dict(load((store.folder(cell).path / WEIGHTS).read_bytes()))
    return method.eval(), dataset


def _saved(state: dict[str, Tensor]) -> bytes:
    return save({key: value.contiguous() for key, value in state.items()})


def score_again(cell: Cell, store: Store, device: str, last_is_best: bool) -> pd.DataFrame:
    """The long table of a finished cell as its weights give it now: the last ones, and those that did best on the validation cases."""
    environment.make_deterministic()
    method, dataset = finished_method(cell, store, device)
    validation = [v for case in dataset.split.val for v in dataset.on_demand(case, labels=True)] if cell.trial else []
    file = store.folder(cell).path / BEST
    best = {key: value.clone() for key, value in method.state_dict().items()} if last_is_best else {}
    best = load(file.read_bytes()) if file.exists() else best
    return _test(method, dataset, cell, Fitted(best_state=best, best_step=0), torch.device(device), validation)


def reported_network(cell: Cell, store: Store) -> tuple[ReportedNetwork, tuple[int, int, int]]:
    """A finished cell's reported network with its last weights, in evaluation mode, and the shape (C, P, P) of its images."""
    method, dataset = finished_method(cell, store)
    return ReportedNetwork(method).eval(), (dataset.channels, cell.protocol.image_size, cell.protocol.image_size)  # type: ignore[arg-type]


def _test(
    method: Method | Propagator,
    dataset: Prepared,
    cell: Cell,
    fitted: Fitted,
    device: torch.device,
    validation: list[Volume],
) -> pd.DataFrame:
    """Training has ended: read the test sets, score the last and the best-by-validation weights. Leaves the best weights loaded.

    A trial of a tuner never gets to the test sets: its last weights are scored on the validation cases.
    """
    rows: list[dict[str, Any]] = []
    if cell.trial:
        columns = {"test_set": "validation", "selection": "last"}
        scored = dataset.scored(dataset.split.val)
        rows = evaluate(method, validation, dataset.classes, cell.protocol, device, columns, scored)
        return pd.DataFrame(rows)[CASE_COLUMNS]
    tests = {name: [v for c in cases for v in dataset.on_demand(c, labels=True)] for name, cases in dataset.split.tests.items()}
    for selection in ("last", "val") if fitted.best_state else ("last",):
        if selection == "val":
            method.load_state_dict(fitted.best_state)
        for test_set, volumes in tests.items():
            columns = {"test_set": test_set, "selection": selection}
            scored = dataset.scored(dataset.split.tests[test_set])
            rows += evaluate(method, volumes, dataset.classes, cell.protocol, device, columns, scored)
    return pd.DataFrame(rows)[CASE_COLUMNS]


def _made_by(code: Code | None) -> dict[str, Any]:
    """Which code made a record, and when (UTC)."""
    ended = {"ended": datetime.now(UTC).isoformat(timespec="seconds")}
    return ended | ({"code": code.model_dump(), "code_hash": code.id} if code else {})


def _failure(cell: Cell, device: str, code: Code | None, error: Exception) -> dict[str, Any]:
    """The record of a cell that failed: the same fields as a finished one as far as they are known, and the error."""
    return describe_cell(cell) | {
        "outcome": "failed",
        "error": for_records("; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]))[:MAX_ERROR],
        "traceback": for_records("".join(traceback.format_exception(error)))[-MAX_TRACEBACK:],
        **_made_by(code),
        "environment": environment.describe(device),
    }
