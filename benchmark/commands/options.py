"""The options that several commands have, each declared once."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.config import give_way, take_options

StoreOption = Annotated[Path, typer.Option(help="Folder of records: finished cells are never run again.")]


class LauncherChoice(StrEnum):
    """Where cells run."""

    inline = "inline"
    devices = "devices"
    slurm = "slurm"
    ray = "ray"


LabelsOption = Annotated[str, typer.Option(help="Budgets: comma list of labelled case counts, or all.")]
DatasetOption = Annotated[str, typer.Option(help="See `ls datasets`.")]
DataOption = Annotated[
    Path | None, typer.Option(help="The dataset's folder, or a file of `prepare --pack`; phantom needs none.")
]
RunsOption = Annotated[
    int | None, typer.Option(min=1, callback=give_way, help="N runs: run r labels draw r and uses seed r.  [default: 1]")
]
DrawsOption = Annotated[
    str | None, typer.Option(callback=give_way, help="Instead of --runs: comma list of draws, crossed with --seeds.")
]
SeedsOption = Annotated[
    str | None, typer.Option(callback=give_way, help="Instead of --runs: comma list of seeds, crossed with --draws.")
]
FoldsOption = Annotated[
    str | None,
    typer.Option(
        help="For data without a test set: cross-validation over the labelled cases, K folds or loo; each is test once.",
        metavar="K|loo",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
JobsOption = Annotated[int | None, typer.Option(min=1, help="Cells at once.  [default: CPU cores; what fits on the GPUs]")]
LauncherOption = Annotated[
    LauncherChoice, typer.Option(help="Where cells run: this process, this machine's devices, a SLURM or a Ray cluster.")
]
CellsPerGpuOption = Annotated[
    int | None, typer.Option("--cells-per-gpu", min=1, help="Cells that share a GPU.  [default: as many as its memory holds]")
]
SlurmOption = Annotated[
    str | None,
    typer.Option(help="Options of the jobs, e.g. partition=gpu,time=120 (minutes),gres=gpu:1.", metavar="KEY=VALUE,..."),
]
RayOption = Annotated[
    str | None, typer.Option(help="The head node of a Ray cluster.  [default: one is started here]", metavar="HOST:PORT")
]
TrackingOption = Annotated[
    str | None,
    typer.Option(help="MLflow tracking URI, or none.  [default: what MLFLOW_TRACKING_URI names, else sqlite in the store]"),
]
ExperimentOption = Annotated[
    str | None,
    typer.Option(help="MLflow experiment.  [default: what MLFLOW_EXPERIMENT_NAME names, else ssl-segmentation-benchmark]"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=take_options,
        help="YAML file with values of these options, e.g. `labels: 1,3,7`; options given here go before it."
        " Relative paths in it count from the working directory.",
    ),
]


class Stale(StrEnum):
    """What becomes of finished cells that other code made."""

    renew = "renew"
    keep = "keep"


StaleOption = Annotated[
    Stale,
    typer.Option(help="Finished cells that other code made: run them again, or use them as they are (reports mark them)."),
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Run finished cells again, too; each is replaced when its turn comes.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print cells, what is done, what the rest takes; run nothing.")]


def use_plugins(files: list[Path] | None) -> list[Path] | None:
    """Make plug-in files known to the registry, here and in worker processes."""
    if files:
        from benchmark.ground.registry import PLUGINS

        os.environ[PLUGINS] = os.pathsep.join(str(file.resolve()) for file in files)
    return files


PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", callback=use_plugins, help="Python file or package with methods or datasets of your own; may come again."
    ),
]
