"""Preparing a dataset with a progress bar, and packing it for machines that have neither the raw files nor a network."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from benchmark.records.store import Store
from benchmark.study.display import StageDisplay
from benchmark.study.grid import parse_labels
from datasets.prepared import Prepared, add_registrations, prepare, write


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


def pack_dataset(
    prepared: Prepared,
    file: Path,
    bits: int,
    registrations: str | None,
    runs: int,
    store: Store,
    device: str,
    jobs: int,
    console: Console,
) -> None:
    """Write ``prepared`` to one portable ``file`` with ``bits`` an intensity.

    registrations: budgets, a comma list, whose registrations in draws 0 to ``runs`` - 1 are computed (on ``device``, through the store's
    cache) and come along; they are those of the packed intensities, and serve the kind of device that computed them.

    Raises:
        BadInput: a bad budget or device, or the file cannot be written.
    """
    budgets = parse_labels(registrations, len(prepared.split.train)) if registrations else []
    file.parent.mkdir(parents=True, exist_ok=True)
    with StageDisplay(console, "packing", "cases") as stage:
        write(prepared, file, 8 if bits == 8 else 16, stage.tell)
    if not budgets:
        return

    import torch

    from benchmark.cell.experiment import training_volumes
    from benchmark.ground.environment import pick_device
    from benchmark.study.session import register_all
    from datasets.draws import labelled_cases
    from datasets.registration import Recipe, cache_files

    packed = Prepared(file)
    drawn = {
        labelled_cases(packed.name, packed.split.train, budget, draw, packed.train_groups)
        for draw in range(runs)
        for budget in budgets
    }
    studies = [(training_volumes(packed, cases), Recipe()) for cases in sorted(drawn)]
    where = torch.device(pick_device(device))
    register_all(studies, store, where, jobs, console)
    add_registrations(file, store.registrations, cache_files(studies, store.registrations, where))
