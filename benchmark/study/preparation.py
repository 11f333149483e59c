"""What is done before cells run, with progress bars: a dataset checked, registrations computed, both packed for other machines."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmark.records.store import Store
from benchmark.study.display import StageDisplay
from benchmark.study.grid import NOT_READ, parse_labels
from datasets.contents import read_through
from datasets.packing import add_registrations, write
from datasets.prepared import Prepared
from datasets.preparing import prepare, recall

if TYPE_CHECKING:
    from datasets.dataset import Dataset
    from datasets.registration import Study


def prepare_shown(name: str, data: Path | None, store: Store, console: Console, data_hash: str | None = None) -> Prepared:
    """The dataset, checked and in the store's cache, so that a bad file is named before hours are spent.

    Raises:
        BadInput: a file of the dataset is not in order.
    """
    with StageDisplay(console, "checking", "cases") as stage:
        prepared = prepare(name, data, store.datasets, stage.tell, data_hash)
    if not (prepared.hashed or data_hash):
        note = f"note: {prepared.file} is of an earlier version, so that every process reads it through for its hash; pack the data again"
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    for warning in prepared.warnings:
        console.print(f"warning: {data or name}: {warning}", highlight=False, markup=False, soft_wrap=True)
    return prepared


def hash_for_plan(opened: Dataset, store: Store, console: Console) -> str:
    """The hash of the data for a plan that prepares nothing: from the store's cache; or read through, with a progress bar, where the store
    has cells of this dataset. Where it has none, NOT_READ: they are all to do, whatever the data.

    Raises:
        BadInput: a file of the dataset is not in order.
    """
    recall(opened, store.datasets)
    if opened.contents is None:
        if not (store.root / opened.name).is_dir():
            return NOT_READ
        with StageDisplay(console, "reading", "cases") as stage:
            opened.contents = read_through(opened, stage.tell)
    return opened.contents


def register_all(studies: Sequence[Study], store: Store, device: str, jobs: int, console: Console) -> None:
    """Fill the store's cache of registrations with a progress bar, and say how many pairs were accepted."""
    import torch

    from datasets.registration import fill_cache

    try:
        with StageDisplay(console, "registration", "volumes") as stage:
            found = fill_cache(studies, store.registrations, torch.device(device), jobs, stage.tell)
        counts = f"{found['accepted']} pairs accepted, {found['rejected']} rejected (no more alike than unregistered)"
        console.print(f"registration: {counts}", highlight=False, soft_wrap=True)
    except BrokenProcessPool:
        console.print("warning: a registration process died (memory?); what is missing is computed where it is needed")


@dataclass(frozen=True)
class PackedRegistrations:
    """Which registrations are packed: those of ``budgets`` (a comma list) in draws 0 to ``runs`` - 1, made on ``device`` by ``jobs``
    processes."""

    budgets: str
    runs: int
    device: str
    jobs: int


def pack_dataset(
    prepared: Prepared,
    file: Path,
    bits: int,
    registrations: PackedRegistrations | None,
    store: Store,
    console: Console,
) -> None:
    """Write ``prepared`` to one portable ``file`` with ``bits`` an intensity.

    registrations: which are computed, through the store's cache, and come along; they are those of the packed intensities, and serve the
    kind of device that computed them.

    Raises:
        BadInput: a bad budget or device, or the file cannot be written.
    """
    budgets = parse_labels(registrations.budgets, len(prepared.split.train)) if registrations else []
    file.parent.mkdir(parents=True, exist_ok=True)
    with StageDisplay(console, "packing", "cases") as stage:
        write(prepared, file, 8 if bits == 8 else 16, stage.tell)
    if registrations is None:
        return

    import torch

    from benchmark.cell.experiment import training_volumes
    from benchmark.ground.environment import pick_device
    from datasets.draws import labelled_cases
    from datasets.registration import Recipe, cache_files

    packed = Prepared(file)
    drawn = {
        labelled_cases(packed.name, packed.split.train, budget, draw, packed.train_groups)
        for draw in range(registrations.runs)
        for budget in budgets
    }
    studies = [(training_volumes(packed, cases), Recipe()) for cases in sorted(drawn)]
    where = pick_device(registrations.device)
    register_all(studies, store, where, registrations.jobs, console)
    add_registrations(file, store.registrations, cache_files(studies, store.registrations, torch.device(where)))
