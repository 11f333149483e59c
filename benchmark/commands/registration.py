"""``registration``: what registration carries over, measured."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err, out, wrote
from benchmark.commands.options import (
    DataOption,
    DatasetOption,
    DeviceOption,
    JobsOption,
    LabelsOption,
    PluginOption,
    StoreOption,
)
from benchmark.ground.workers import cores


class Kind(StrEnum):
    """Kinds of transform that ``registration`` can compute."""

    deformable = "deformable"
    affine = "affine"
    identity = "identity"


class SimilarityChoice(StrEnum):
    """Similarities that registration can climb."""

    lncc = "lncc"
    ncc = "ncc"


@command(
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

    from benchmark.cell.experiment import training_volumes
    from benchmark.ground.environment import pick_device
    from benchmark.records.store import Store
    from benchmark.study.preparation import prepare_shown, register_all
    from datasets.draws import labelled_cases
    from datasets.registration import Recipe
    from datasets.registration.quality import measure
    from reports.preparation.registration import to_terminal, write

    root, recipe = Store(store), Recipe(kind.value, similarity.value)
    opened = prepare_shown(dataset, data, root, err)
    opened.unpack_registrations(root.registrations)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    chosen = [labelled_cases(dataset, opened.split.train, n, draw, opened.train_groups) for n in budgets]
    where = pick_device(device)
    register_all([(training_volumes(opened, cases), recipe) for cases in chosen], root, where, jobs or cores(), err)
    for budget, cases in zip(budgets, chosen, strict=True):
        title = f"{dataset}, {budget} labelled (draw {draw}), {kind.value} on {similarity.value}"
        quality = measure(opened, training_volumes(opened, cases), recipe, root.registrations, where)
        out.print(to_terminal(quality, title))
        name = "-".join([str(budget), f"draw{draw}", kind.value, similarity.value])
        wrote(write(quality, title, root.report / "registration" / dataset / name))
