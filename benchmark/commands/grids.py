"""The commands that run cells: run, ablate, retry and tune."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.console import app, command_line, err, note, out, stoppable, wrote
from benchmark.commands.options import (
    AgainOption,
    CellsPerGpuOption,
    ConfigOption,
    DataOption,
    DatasetOption,
    DeviceOption,
    DrawsOption,
    DryRunOption,
    Hparams,
    JobsOption,
    LabelsOption,
    LauncherChoice,
    LauncherOption,
    PluginOption,
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
from benchmark.ground.errors import BadInput

if TYPE_CHECKING:
    from benchmark.launchers import Site
    from benchmark.records.identity import Cell
    from benchmark.study.grid import Selection
    from benchmark.study.session import Finished, Session


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark run --methods cctr,cps --labels 1,3,7`\n\n"
    "`python -m benchmark run --dataset acdc --data ~/ACDC --methods supervised,'cctr[rsl=false]' --labels 3,all --runs 3`\n\n"
    "`python -m benchmark run --config experiments/acdc_gpu.yaml --labels 1`"
)
def run(
    methods: Annotated[
        str, typer.Option(help="Comma list: name or name[param=value,...], or all; see `ls methods`.")
    ] = "supervised,cps,cctr",
    labels: LabelsOption = "1,3,7",
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    protocol: ProtocolOption = "quick",
    hparams: Annotated[
        Hparams, typer.Option(help="Published values, or the best that `tune` found for each method and budget.")
    ] = Hparams.published,
    runs: RunsOption = None,
    draws: DrawsOption = None,
    seeds: SeedsOption = None,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    launcher: LauncherOption = LauncherChoice.devices,
    cells_per_gpu: CellsPerGpuOption = None,
    slurm: SlurmOption = None,
    ray: RayOption = None,
    tracking: TrackingOption = None,
    system_metrics: Annotated[
        bool, typer.Option("--system-metrics", help="Track the machine's load, too (CPU, memory, disk, GPU).")
    ] = False,
    register: Annotated[
        str | None, typer.Option(help="Register the network that does best on the validation cases as this MLflow model.")
    ] = None,
    stale: StaleOption = Stale.renew,
    again: AgainOption = False,
    dry_run: DryRunOption = False,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Train and test every method at every budget; stop and repeat the command to continue."""
    from benchmark.study import grid

    selections = partial(grid.parse_methods, methods)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    done = _finished(stale, again)
    session = _session(selections, dataset, data, protocol, labels, runs, draws, seeds, store, site, tracking, done, dry_run)
    if hparams is Hparams.tuned:
        from benchmark.study.tuning import tuned

        session.replace(tuned(session.cells, session.store))
    session.system_metrics = system_metrics
    failed = _carry_out(session, dry_run)
    if register:
        session.register(register)
    from reports.tables.leaderboard_forms import to_terminal

    table, files = session.report()
    out.print(to_terminal(table))
    wrote(files)
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark ablate --method cctr --factors rsl,reps --labels 1,3,7 --runs 3`\n\n"
    "`python -m benchmark ablate --method 'cctr[reps=false]' --factors 'registration=identity|affine|deformable' --labels 1`"
)
def ablate(
    method: Annotated[str, typer.Option(help="The method: name or name[param=value,...].")] = "cctr",
    factors: Annotated[
        str, typer.Option(help="Comma list: a switch, or name=LEVEL|LEVEL..., baseline first; any hparam of the method.")
    ] = "rsl,reps",
    labels: LabelsOption = "1,3,7",
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    protocol: ProtocolOption = "quick",
    runs: RunsOption = None,
    draws: DrawsOption = None,
    seeds: SeedsOption = None,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    launcher: LauncherOption = LauncherChoice.devices,
    cells_per_gpu: CellsPerGpuOption = None,
    slurm: SlurmOption = None,
    ray: RayOption = None,
    tracking: TrackingOption = None,
    stale: StaleOption = Stale.renew,
    again: AgainOption = False,
    dry_run: DryRunOption = False,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Run the full factorial of a method's parts; report what each adds and how they interact."""
    from benchmark.records.ablations import Ablation, remember
    from benchmark.study.ablation import parse_design

    design, selections = parse_design(method, factors)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    done = _finished(stale, again)
    session = _session(
        lambda: selections, dataset, data, protocol, labels, runs, draws, seeds, store, site, tracking, done, dry_run
    )
    failed = _carry_out(session, dry_run)
    chosen = session.cells[0].protocol.name
    mine = Ablation(dataset, chosen, design)
    remember(mine, session.store)
    from reports.tables import ablation, leaderboard_forms
    from reports.writing.ablation import write_ablation

    table, _ = session.report()
    records = session.records()
    files = write_ablation(records, design, session.store.report / "ablation" / mine.folder)
    out.print(leaderboard_forms.to_terminal(table))
    out.print(ablation.to_terminal(ablation.effects(records, design), design, ablation.unit_of(records)))
    wrote(files)
    if failed:
        raise typer.Exit(1)


def _session(
    selections: Callable[[], list[Selection]],
    dataset: str,
    data: Path | None,
    protocol: str,
    labels: str,
    runs: int | None,
    draws: str | None,
    seeds: str | None,
    store: Path,
    site: Callable[[], Site],
    tracking: str | None,
    finished: Finished,
    dry_run: bool,
) -> Session:
    """The grid that the options of ``run`` and ``ablate`` name. Options are checked first, cheapest checks before heavy imports."""
    from benchmark.ground.protocol import get_protocol
    from benchmark.ground.registry import check_name
    from benchmark.study import grid

    chosen = get_protocol(protocol)
    check_name("datasets", dataset)
    pairs = grid.parse_runs(runs, draws, seeds)
    variants = selections()

    from benchmark.records.store import Store
    from benchmark.records.tracking import where_installed
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.session import Session
    from datasets.prepared import open_dataset, recall

    opened = open_dataset(dataset, data)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    where, tracking = site(), where_installed(tracking, note)
    if dry_run:
        recall(opened, Store(store).datasets)
    else:
        prepare_shown(dataset, data, Store(store), err)  # its hash, which is part of every cell, is known then
    cells = grid.expand(opened, variants, budgets, pairs, chosen, command_line())
    return Session(cells, store, where, tracking, err, finished)


def _finished(stale: Stale, again: bool) -> Finished:
    if again and stale is Stale.keep:
        raise BadInput("--again runs finished cells again and --stale keep uses them as they are; expected one of the two")
    return "again" if again else stale.value


def _site(
    device: str, jobs: int | None, launcher: LauncherChoice, cells_per_gpu: int | None, slurm: str | None, ray: str | None
) -> Callable[[], Site]:
    """Where cells run; made when all else has been checked, for a device needs torch."""
    from benchmark.launchers import Site, parse_cluster

    for option, value, belongs in (("--slurm", slurm, LauncherChoice.slurm), ("--ray", ray, LauncherChoice.ray)):
        if value and launcher is not belongs:
            raise BadInput(f"{option} belongs to --launcher {belongs.value}; found --launcher {launcher.value}")
    cluster = parse_cluster("--slurm", slurm) if launcher is LauncherChoice.slurm else {"address": ray} if ray else {}

    def site() -> Site:
        from benchmark.ground.environment import pick_device

        remote = launcher in (LauncherChoice.slurm, LauncherChoice.ray)
        return Site(device if remote else pick_device(device), launcher.value, jobs, cells_per_gpu, cluster)

    return site


def _carry_out(session: Session, dry_run: bool) -> int:
    """Run the grid, or print its plan and leave; returns how many cells did not end well."""
    if dry_run:
        out.print(session.plan())
        raise typer.Exit
    with stoppable():
        return session.run()


@app.command(
    epilog="Examples:\n\n`python -m benchmark retry --failed --store runs`\n\n`python -m benchmark retry --stale --store runs`\n\n"
    "`python -m benchmark retry --store runs --launcher slurm --slurm partition=gpu,time=120`"
)
def retry(
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed; else all that are not done.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Only finished ones that other code made.")] = False,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    launcher: LauncherOption = LauncherChoice.devices,
    cells_per_gpu: CellsPerGpuOption = None,
    slurm: SlurmOption = None,
    ray: RayOption = None,
    tracking: TrackingOption = None,
    plugin: PluginOption = None,
) -> None:
    """Run again what failed, was cut off or is damaged, whichever commands asked for it, from the last good checkpoints."""
    if failed and stale:
        raise BadInput("--failed and --stale each choose cells alone; expected one of the two")
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)

    from benchmark.records.status import statuses
    from benchmark.records.store import Store

    states = ("failed",) if failed else ("outdated",) if stale else ("failed", "damaged", "to do")
    chosen = [s for s in statuses(Store(store))[0] if s.state in states]
    if not chosen:
        what = "is of other code" if stale else "has failed" + ("" if failed else ", was cut off or is damaged")
        err.print(f"nothing to do: no cell of {store} {what}", soft_wrap=True)
        return
    cells = [status.cell.model_copy(update={"data": data, "command": command_line()}) for status in chosen]

    from benchmark.records.tracking import where_installed
    from benchmark.study.session import Session

    where = site()
    by_dataset: dict[str, list[Cell]] = {}
    for cell in cells:
        by_dataset.setdefault(cell.data_hash, []).append(cell)
    with stoppable():
        tracking = where_installed(tracking, note)
        left = sum(Session(some, store, where, tracking, err).run() for some in by_dataset.values())
    if left:
        raise typer.Exit(1)


class SamplerChoice(StrEnum):
    """How ``tune`` draws trials."""

    tpe = "tpe"
    random = "random"


class PrunerChoice(StrEnum):
    """Whether ``tune`` ends trials early."""

    none = "none"
    median = "median"


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark tune --methods cctr,cps,supervised --labels 1,3,7 --trials 20`\n\n"
    "`python -m benchmark run --methods cctr,cps,supervised --labels 1,3,7 --hparams tuned`"
)
def tune(
    methods: Annotated[str, typer.Option(help="Comma list: name or name[param=value,...]; what has a value is fixed.")] = (
        "supervised,cps,cctr"
    ),
    labels: LabelsOption = "1,3,7",
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each method at each budget; the first has the published values.")
    ] = 20,
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    protocol: ProtocolOption = "quick",
    sampler: Annotated[
        SamplerChoice, typer.Option(help="How trials are drawn; random ones give an unbiased curve of the expected best.")
    ] = SamplerChoice.tpe,
    pruner: Annotated[
        PrunerChoice, typer.Option(help="median ends trials early that lag behind; the steps saved go to further trials.")
    ] = PrunerChoice.none,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL.  [default: a journal file in the store]")] = None,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    launcher: LauncherOption = LauncherChoice.devices,
    cells_per_gpu: CellsPerGpuOption = None,
    slurm: SlurmOption = None,
    ray: RayOption = None,
    tracking: TrackingOption = None,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Search hyper-parameters on the validation cases, with the same number of trials for every method; resumes."""
    from benchmark.ground.protocol import get_protocol
    from benchmark.ground.registry import check_name
    from benchmark.study import grid

    chosen = get_protocol(protocol)
    check_name("datasets", dataset)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    selections = grid.parse_methods(methods)

    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.records.tracking import where_installed
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.session import Session
    from benchmark.study.tuning import Tuner, search_space
    from benchmark.study.tuning import tune as search
    from datasets.prepared import open_dataset
    from reports.tables.tuning import studies_of, to_terminal, trials_of
    from reports.writing.tuning import write_tuning

    opened, root = open_dataset(dataset, data), Store(store)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    spaces = [search_space(selection, budget) for budget in budgets for selection in selections]
    where, tracking = site(), where_installed(tracking, note)
    prepare_shown(dataset, data, root, err)
    tuner = Tuner(opened, spaces, chosen, trials, sampler.value, pruner.value, storage, root, command_line())
    with stoppable():
        search(tuner, lambda cells: Session(cells, store, where, tracking, err).run())
    records = collect(root)
    found = trials_of(records)
    out.print(to_terminal(studies_of(found[found["study"].isin(tuner.names())])))
    wrote(write_tuning(records, root.report / "tuning"))
    if tuner.failed():
        raise typer.Exit(1)
