"""The commands on data, registrations and methods by themselves: prepare, registration and check."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.console import app, err, out, wrote
from benchmark.commands.options import (
    DataOption,
    DatasetOption,
    DeviceOption,
    JobsOption,
    LabelsOption,
    PluginOption,
    StoreOption,
)
from benchmark.ground.errors import BadInput


class Bits(StrEnum):
    """Bits of an intensity in a packed dataset."""

    eight = "8"
    sixteen = "16"


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC`\n\n"
    "`python -m benchmark prepare --dataset decathlon --data ~/Task04_Hippocampus --download`\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC --pack acdc.h5 --registrations 1,3,7`\n\n"
    "`python -m benchmark prepare --data ~/scans --suggest`"
)
def prepare(
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    look: Annotated[bool, typer.Option("--suggest", help="Only say what lies in --data and which dataset reads it.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch it into --data first, where its licence allows.")] = False,
    pack: Annotated[Path | None, typer.Option(help="Write one portable file, which --data then names anywhere.")] = None,
    bits: Annotated[Bits, typer.Option(help="Of each intensity in the packed file.")] = Bits.eight,
    registrations: Annotated[str | None, typer.Option(help="Budgets whose registrations are packed too.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=10, help="Pack registrations of draws 0 to N-1.")] = 1,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a dataset file by file, show what is in it, and keep it in the store's cache, where cells read it."""
    from benchmark.ground import registry

    if look:
        from datasets.suggest import suggest

        if data is None:
            raise BadInput("--suggest needs --data FOLDER; expected the folder to look at")
        for line in suggest(data):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    kind = registry.load("datasets", dataset)
    if registrations and not pack:
        raise BadInput("--registrations belongs to --pack; name the file to write with --pack FILE")
    if download:
        if data is None:
            raise BadInput(f"--download needs --data FOLDER; expected where to put {dataset}")
        kind.download(data)  # type: ignore[attr-defined]

    from benchmark.records.store import Store
    from benchmark.study.preparation import pack_dataset, prepare_shown
    from datasets.summary import summarise
    from reports.dataset import to_terminal, write

    root = Store(store)
    prepared = prepare_shown(dataset, data, root, err)
    summary = summarise(prepared)
    out.print(to_terminal(summary))
    wrote(write(summary, root.report / "datasets" / dataset))
    if pack:
        pack_dataset(prepared, pack, int(bits), registrations, runs, root, device, jobs or os.cpu_count() or 1, err)
        wrote([pack])


class Kind(StrEnum):
    """Kinds of transform that ``registration`` can compute."""

    deformable = "deformable"
    affine = "affine"
    identity = "identity"


class SimilarityChoice(StrEnum):
    """Similarities that registration can climb."""

    lncc = "lncc"
    ncc = "ncc"


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark registration --dataset acdc --data ~/ACDC --labels 1,3,7`\n\n"
    "`python -m benchmark registration --labels 1 --kind affine --draw 2`"
)
def registration(
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    labels: LabelsOption = "1,3,7",
    draw: Annotated[int, typer.Option(min=0, max=9, help="Which cases are labelled; 0 is the canonical draw.")] = 0,
    kind: Annotated[Kind, typer.Option(help="Kind of transform.")] = Kind.deformable,
    similarity: Annotated[
        SimilarityChoice, typer.Option(help="Local or global normalised cross-correlation.")
    ] = SimilarityChoice.lncc,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    plugin: PluginOption = None,
) -> None:
    """Compute the registrations that cells will use, and measure the labels that they carry over (training never does)."""
    from benchmark.ground.registry import check_name
    from benchmark.study import grid

    check_name("datasets", dataset)

    import torch

    from benchmark.cell.experiment import training_volumes
    from benchmark.ground.environment import pick_device
    from benchmark.records.store import Store
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.session import register_all
    from datasets.draws import labelled_cases
    from datasets.registration import Recipe
    from datasets.registration.quality import measure
    from reports.registration import to_terminal, write

    root, recipe = Store(store), Recipe(kind.value, similarity.value)
    opened = prepare_shown(dataset, data, root, err)
    opened.unpack_registrations(root.registrations)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    chosen = [labelled_cases(dataset, opened.split.train, n, draw, opened.train_groups) for n in budgets]
    where = torch.device(pick_device(device))
    register_all([(training_volumes(opened, cases), recipe) for cases in chosen], root, where, jobs or os.cpu_count() or 1, err)
    for budget, cases in zip(budgets, chosen, strict=True):
        title = f"{dataset}, {budget} labelled (draw {draw}), {kind.value} on {similarity.value}"
        quality = measure(opened, training_volumes(opened, cases), recipe, root.registrations, where)
        out.print(to_terminal(quality, title))
        name = "-".join([str(budget), f"draw{draw}", kind.value, similarity.value])
        wrote(write(quality, title, root.report / "registration" / dataset / name))


@app.command(
    epilog="Examples:\n\n`python -m benchmark check --methods all`\n\n`python -m benchmark check --plugin my_method.py`\n\n"
    "`python -m benchmark check --plugin my_data.py --data ~/scans`"
)
def check(
    methods: Annotated[
        str | None, typer.Option(help="Comma list of names, or all.  [default: the plug-ins' methods, else all]")
    ] = None,
    data: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check that methods, on a made-up task, and plug-ins' datasets, on --data, keep the laws; exit code 1 where one does not."""
    import time

    from benchmark.ground import registry
    from benchmark.ground.grammar import split_list

    known = registry.entries("methods")
    mine = [name for name, entry in known.items() if plugin and entry.plugin]
    own = [name for name, entry in registry.entries("datasets").items() if plugin and entry.plugin]
    names = list(known) if methods == "all" else split_list(methods) if methods else mine or ([] if own else list(known))
    classes = {name: registry.load("methods", name) for name in names}

    import torch

    from benchmark.conformance import Result
    from benchmark.conformance import check as laws_of
    from benchmark.conformance.data import try_laws

    torch.set_num_threads(1)
    broken = 0
    trials: dict[str, Callable[[], Iterable[Result]]] = {name: partial(laws_of, cls) for name, cls in classes.items()}
    trials |= {name: partial(try_laws, registry.load("datasets", name), data) for name in own}
    for name, trial in trials.items():
        began = time.monotonic()
        results = list(trial())
        problems = [result for result in results if result.problem]
        broken += bool(problems)
        verdict = "[red]breaks[/]" if problems else "[green]keeps[/]"
        count = f"{len(problems)} of {len(results)}" if problems else str(len(results))
        out.print(f"{name} {verdict} {count} laws  {time.monotonic() - began:.1f} s", highlight=False, soft_wrap=True)
        for result in problems:
            out.print(f"  law: {result.law}\n    {result.problem}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)
