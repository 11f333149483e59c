"""Options in the groups in which commands take them, each group one object."""

from dataclasses import dataclass
from pathlib import Path

from benchmark.commands.options import (
    AgainOption,
    CellsPerGpuOption,
    DataOption,
    DatasetOption,
    DeviceOption,
    DrawsOption,
    DryRunOption,
    ExperimentOption,
    FoldsOption,
    JobsOption,
    LabelsOption,
    LauncherChoice,
    LauncherOption,
    RayOption,
    RunsOption,
    SeedsOption,
    SlurmOption,
    Stale,
    StaleOption,
    StoreOption,
    TrackingOption,
)
from benchmark.commands.rules import PrecisionOption, ProtocolOption


@dataclass(kw_only=True, eq=False, repr=False)
class Task:
    """What is learnt, from how much, under which rules."""

    labels: LabelsOption = "1,3,7"
    dataset: DatasetOption = "phantom"
    data: DataOption = None
    protocol: ProtocolOption = "quick"
    precision: PrecisionOption = None


@dataclass(kw_only=True, eq=False, repr=False)
class Runs(Task):
    """A task, and how often it is tried."""

    runs: RunsOption = None
    draws: DrawsOption = None
    seeds: SeedsOption = None
    folds: FoldsOption = None


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
