"""``package``: a finished cell as a model to hand on."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.chosen import BestOption, CellOption, EnsembleOption
from benchmark.commands.console import note, wrote
from benchmark.commands.options import DataOption, PluginOption, StoreOption
from benchmark.ground.errors import BadInput


@command(
    epilog="Examples:\n\n`python -m benchmark package --best --out model`\n\n"
    "`python -m benchmark predict --model model --images ~/scans --out masks`"
)
def package(
    *,
    out_folder: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    cell: CellOption = None,
    best: BestOption = False,
    ensemble: EnsembleOption = False,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Write a model that `predict --model` uses without a store: weights, classes, how scans are read, a card; ONNX where torch can."""
    if best is (cell is not None):
        raise BadInput("package needs to know which cell; expected either --cell ID or --best")

    from benchmark.records.store import Store
    from benchmark.study import packaging
    from benchmark.study.models import loaded

    with loaded(store, False, cell, ensemble, data, "cpu") as found:
        for told in found.told:
            note(told)
        files, why = packaging.package(found, found.choosing_largest(), Store(store), out_folder)
    if why:
        note(f"note: {why}")
    wrote(files)
