"""Options in the groups in which commands take them, each group one object."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    AgainOption,
    CellsPerGpuOption,
    DataOption,
    DatasetOption,
    DeviceOption,
    DrawsOption,
    DryRunOption,
    ExperimentOption,
    JobsOption,
    LabelsOption,
    LauncherChoice,
    LauncherOption,
    ProtocolOption,
    RayOption,
    RunsOption,
    SeedsOption,
    SlurmOption,
    Stale,
    StaleOption,
    StoreOption,
    TrackingOption,
)


@dataclass(kw_only=True, eq=False, repr=False)
class Task:
    """What is learnt, from how much, under which rules."""

    labels: LabelsOption = "1,3,7"
    dataset: DatasetOption = "phantom"
    data: DataOption = None
    protocol: ProtocolOption = "quick"


@dataclass(kw_only=True, eq=False, repr=False)
class Runs(Task):
    """A task, and how often it is tried."""

    runs: RunsOption = None
    draws: DrawsOption = None
    seeds: SeedsOption = None


@dataclass(kw_only=True, eq=False, repr=False)
class Where:
    """Where cells run, and where their records go."""

    store: StoreOption = Path("runs")
    device: DeviceOption = "auto"
    jobs: JobsOption = None
    launcher: LauncherOption = LauncherChoice.devices
    cells_per_gpu: CellsPerGpuOption = None
    slurm: SlurmOption = None
    ray: RayOption = None
    tracking: TrackingOption = None
    experiment: ExperimentOption = None


@dataclass(kw_only=True, eq=False, repr=False)
class Finished:
    """What becomes of cells that are finished, and whether anything runs."""

    stale: StaleOption = Stale.renew
    again: AgainOption = False
    dry_run: DryRunOption = False


class SamplerChoice(StrEnum):
    """How trials are drawn."""

    tpe = "tpe"
    random = "random"
    nsga2 = "nsga2"


class PrunerChoice(StrEnum):
    """Whether trials end early."""

    none = "none"
    median = "median"
    hyperband = "hyperband"


@dataclass(kw_only=True, eq=False, repr=False)
class How:
    """How `tune` searches, and for what."""

    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each method at each budget; the first has the published values.")
    ] = 20
    timeout: Annotated[
        str | None, typer.Option(help="End after this time, such as 30m or 8h; the same command goes on.", metavar="TIME")
    ] = None
    objective: Annotated[
        str, typer.Option(help="dsc, nsd or hd95 on the validation cases; or two, such as dsc,hd95, for a Pareto front.")
    ] = "dsc"
    sampler: Annotated[
        SamplerChoice | None,
        typer.Option(
            help="How trials are drawn; random: an unbiased curve of the best.  [default: tpe; of two objectives nsga2]"
        ),
    ] = None
    n_startup: Annotated[int, typer.Option("--n-startup", min=1, help="Trials that tpe draws at random first.")] = 10
    pruner: Annotated[
        PrunerChoice, typer.Option(help="Ends trials early that lag behind; the steps saved go to further trials.")
    ] = PrunerChoice.none
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start", help="Begin with the best values found at these budgets or datasets, e.g. 3,acdc.", metavar="LIST"
        ),
    ] = None
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL.  [default: a journal file in the store]")] = None
