"""The commands: parse, call, print. No logic lives here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmark.config import give_way, take_options
from benchmark.errors import BadInput
from benchmark.redaction import for_records, without_secrets

if TYPE_CHECKING:
    from benchmark.exchange import Outcome
    from benchmark.grid import Cell, Selection
    from benchmark.launchers import Site
    from benchmark.session import Finished, Session

app = typer.Typer(
    name="benchmark",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare semi-supervised medical image segmentation methods under rules that are equal for all.",
)
ANY_WIDTH = 10_000
out = Console(width=None if sys.stdout.isatty() else ANY_WIDTH)  # a pipe or a file has no width: nothing is cut or wrapped
err = Console(stderr=True)

StoreOption = Annotated[Path, typer.Option(help="Folder of records: finished cells are never run again.")]


class Listing(StrEnum):
    """What ``ls`` can list."""

    methods = "methods"
    datasets = "datasets"
    protocols = "protocols"
    draws = "draws"
    cells = "cells"


class LauncherChoice(StrEnum):
    """Where cells run."""

    inline = "inline"
    devices = "devices"
    slurm = "slurm"
    ray = "ray"


class Hparams(StrEnum):
    """Which hyper-parameters ``run`` takes."""

    published = "published"
    tuned = "tuned"


LabelsOption = Annotated[str, typer.Option(help="Budgets: comma list of labelled case counts, or all.")]
DatasetOption = Annotated[str, typer.Option(help="See `ls datasets`.")]
DataOption = Annotated[
    Path | None, typer.Option(help="The dataset's folder, or a file of `prepare --pack`; phantom needs none.")
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        help="smoke, quick, paper-short, paper or paper-bf16 (see `ls protocols`), one of them with rules of your own,"
        " name[rule=value,...], or a YAML file of `base` and rules."
    ),
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
TrackingOption = Annotated[str | None, typer.Option(help="MLflow tracking URI, or none.  [default: sqlite in the store]")]
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
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the cells, what is done, the time left; run nothing.")]


def _use_plugins(files: list[Path] | None) -> list[Path] | None:
    """Make plug-in files known to the registry, here and in worker processes."""
    if files:
        from benchmark.registry import PLUGINS

        os.environ[PLUGINS] = os.pathsep.join(str(file.resolve()) for file in files)
    return files


PluginOption = Annotated[
    list[Path] | None,
    typer.Option("--plugin", callback=_use_plugins, help="Python file with methods or datasets of your own; may come again."),
]


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
    from benchmark import grid

    selections = partial(grid.parse_methods, methods)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    done = _finished(stale, again)
    session = _session(selections, dataset, data, protocol, labels, runs, draws, seeds, store, site, tracking, done, dry_run)
    if hparams is Hparams.tuned:
        from benchmark.tuning import tuned

        session.replace(tuned(session.cells, session.store))
    session.system_metrics = system_metrics
    failed = _carry_out(session, dry_run)
    if register:
        session.register(register)
    from reports.leaderboard import to_terminal

    table, files = session.report()
    out.print(to_terminal(table))
    _wrote(files)
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
    from benchmark.ablation import Ablation, parse_design, remember

    design, selections = parse_design(method, factors)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    done = _finished(stale, again)
    session = _session(
        lambda: selections, dataset, data, protocol, labels, runs, draws, seeds, store, site, tracking, done, dry_run
    )
    failed = _carry_out(session, dry_run)
    chosen = session.cells[0].protocol.name
    remember(Ablation(dataset, chosen, design), session.store)
    from reports import ablation, leaderboard

    table, _ = session.report()
    records = session.records()
    files = ablation.write_ablation(records, design, session.store.report / "ablation" / dataset / chosen / design.name)
    out.print(leaderboard.to_terminal(table))
    out.print(ablation.to_terminal(ablation.effects(records, design), design, ablation.unit_of(records)))
    _wrote(files)
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
    from benchmark import grid
    from benchmark.protocol import get_protocol
    from benchmark.registry import check_name

    chosen = get_protocol(protocol)
    check_name("datasets", dataset)
    pairs = grid.parse_runs(runs, draws, seeds)
    variants = selections()

    from benchmark.preparation import prepare_shown
    from benchmark.session import Session
    from benchmark.store import Store
    from benchmark.tracking import where_installed
    from datasets.prepared import open_dataset, recall

    opened = open_dataset(dataset, data)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    where, tracking = site(), where_installed(tracking, _note)
    if dry_run:
        recall(opened, Store(store).datasets)
    else:
        prepare_shown(dataset, data, Store(store), err)  # its hash, which is part of every cell, is known then
    cells = grid.expand(opened, variants, budgets, pairs, chosen, _command())
    return Session(cells, store, where, tracking, err, finished)


def _finished(stale: Stale, again: bool) -> Finished:
    if again and stale is Stale.keep:
        raise BadInput("--again runs finished cells again and --stale keep uses them as they are; expected one of the two")
    return "again" if again else stale.value


def _command() -> str:
    """The command line as records hold it."""
    return for_records(shlex.join(["python", "-m", "benchmark", *sys.argv[1:]]))


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
        from benchmark.environment import pick_device

        remote = launcher in (LauncherChoice.slurm, LauncherChoice.ray)
        return Site(device if remote else pick_device(device), launcher.value, jobs, cells_per_gpu, cluster)

    return site


def _carry_out(session: Session, dry_run: bool) -> int:
    """Run the grid, or print its plan and leave; returns how many cells did not end well."""
    if dry_run:
        out.print(session.plan())
        raise typer.Exit
    with _stoppable():
        return session.run()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end a command with a word and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        err.print("stopped; the same command continues from here")
        raise typer.Exit(getattr(stopped, "code", 130)) from None


@app.command(
    "ls",
    epilog="Examples:\n\n`python -m benchmark ls methods`\n\n`python -m benchmark ls draws --dataset acdc --data ~/ACDC`\n\n"
    "`python -m benchmark ls cells --store runs`",
)
def list_things(
    what: Annotated[Listing, typer.Argument(help="What to list.")],
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    store: StoreOption = Path("runs"),
    plugin: PluginOption = None,
) -> None:
    """List methods, datasets, protocols; the cells of a store (done, running where, failed why, to do); or the cases that each draw of a
    dataset labels first (the next budget adds to them)."""
    if what is Listing.cells:
        _list_cells(store)
        return
    if what is Listing.draws:
        from benchmark.registry import check_name
        from datasets.draws import DRAWS, labelled_cases
        from datasets.prepared import open_dataset

        check_name("datasets", dataset)
        opened = open_dataset(dataset, data)
        train, groups = opened.split.train, opened.train_groups
        shown = min(7, len(train))
        rows = [(f"draw {d}", "  ".join(labelled_cases(dataset, train, shown, d, groups))) for d in DRAWS]
    elif what is Listing.protocols:
        from benchmark.protocol import PROTOCOLS

        rows = [(p.name, p.summary) for p in PROTOCOLS.values()]
    else:
        from benchmark.registry import entries

        rows = [(e.name, e.summary) for e in entries(what.value).values()]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _list_cells(store: Path) -> None:
    from rich.markup import escape

    from benchmark.status import counts, statuses
    from benchmark.store import Store

    found = statuses(Store(store))
    rows = [(s.state, s.cell.id, s.cell.dataset, s.cell.protocol.title, f"{s.cell}", s.note) for s in found]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    colours = {"done": "green", "outdated": "yellow", "running": "cyan", "failed": "red", "damaged": "red", "to do": "yellow"}
    for state, *texts in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(texts, [*widths[1:], 0], strict=True)).rstrip()
        out.print(f"[{colours[state]}]{state.ljust(widths[0])}[/]  {escape(line)}", highlight=False, soft_wrap=True)
    err.print(counts(found), highlight=False)


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

    from benchmark.status import statuses
    from benchmark.store import Store

    states = ("failed",) if failed else ("outdated",) if stale else ("failed", "damaged", "to do")
    chosen = [s for s in statuses(Store(store)) if s.state in states]
    if not chosen:
        what = "is of other code" if stale else "has failed" + ("" if failed else ", was cut off or is damaged")
        err.print(f"nothing to do: no cell of {store} {what}", soft_wrap=True)
        return
    cells = [status.cell.model_copy(update={"data": data, "command": _command()}) for status in chosen]

    from benchmark.session import Session
    from benchmark.tracking import where_installed

    where = site()
    by_dataset: dict[str, list[Cell]] = {}
    for cell in cells:
        by_dataset.setdefault(cell.data_hash, []).append(cell)
    with _stoppable():
        tracking = where_installed(tracking, _note)
        left = sum(Session(some, store, where, tracking, err).run() for some in by_dataset.values())
    if left:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n`python -m benchmark check --methods all`\n\n`python -m benchmark check --plugin my_method.py`"
)
def check(
    methods: Annotated[
        str | None, typer.Option(help="Comma list of names, or all.  [default: the plug-ins' methods, else all]")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Check that methods keep the laws of the benchmark, on a made-up task; exit code 1 where one does not."""
    import time

    from benchmark import registry
    from benchmark.grammar import split_list

    known = registry.entries("methods")
    mine = [name for name, entry in known.items() if plugin and entry.plugin]
    names = list(known) if methods == "all" else split_list(methods) if methods else mine or list(known)
    classes = {name: registry.load("methods", name) for name in names}

    import torch

    from benchmark.conformance import check as laws_of

    torch.set_num_threads(1)
    broken = 0
    for name, method in classes.items():
        began = time.monotonic()
        results = list(laws_of(method))
        problems = [result for result in results if result.problem]
        broken += bool(problems)
        verdict = "[red]breaks[/]" if problems else "[green]keeps[/]"
        count = f"{len(problems)} of {len(results)}" if problems else str(len(results))
        out.print(f"{name} {verdict} {count} laws  {time.monotonic() - began:.1f} s", highlight=False, soft_wrap=True)
        for result in problems:
            out.print(f"  law: {result.law}\n    {result.problem}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)


class CodeChoice(StrEnum):
    """Whose runs ``report`` takes where different code made them."""

    newest = "newest"
    all = "all"


@app.command(
    epilog="Examples:\n\n`python -m benchmark report --store runs`\n\n"
    "`python -m benchmark report --store laptop --store cluster --out report --baseline mean_teacher --labels 1,3`"
)
def report(
    stores: Annotated[
        list[Path] | None, typer.Option("--store", help="Folder of records; may come again to merge several.  [default: runs]")
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Where to write.  [default: report in the first store]")
    ] = None,
    baseline: Annotated[str, typer.Option(help="The variant that all are compared with.")] = "supervised",
    labels: Annotated[str | None, typer.Option(help="Only these budgets: comma list of labelled case counts.")] = None,
    code: Annotated[
        CodeChoice, typer.Option(help="Of runs that different code made: the newest, or all, older code in rows of its own.")
    ] = CodeChoice.newest,
    overlays: Annotated[
        bool,
        typer.Option("--overlays", help="Also draw the best method's contours on three cases of each budget; shows patients."),
    ] = False,
) -> None:
    """Write the report of a store, finished or not: one HTML page, tables (CSV, Markdown, LaTeX, Parquet) and figures."""
    from benchmark.ablation import remembered
    from benchmark.grid import parse_numbers
    from benchmark.records import collect
    from benchmark.store import Store
    from reports.leaderboard import to_terminal
    from reports.report import write_report

    opened = [Store(path) for path in stores or [Path("runs")]]
    records = collect(*opened, code=code.value)
    for note in records.notes:
        _note(f"note: {note}")
    if labels is not None:
        records = records.select(records.cells["labels"].isin(parse_numbers("--labels", labels)))
    pictures = []
    if overlays:
        from benchmark.overlays import overlays as cases_of

        pictures = list(cases_of(records, opened, baseline))
    table, files = write_report(records, out_folder or opened[0].report, baseline, remembered(*opened), pictures)
    out.print(to_terminal(table))
    if baseline not in set(table["variant"]):
        known = ", ".join(sorted(set(table["variant"])))
        _note(f"note: no record of {baseline}, so nothing is compared with it; there are {known}")
    _wrote(files)


@app.command(
    epilog="Examples:\n\n`python -m benchmark verify --store runs`\n\n"
    "`python -m benchmark verify --store runs --sample 10 --data acdc.h5`"
)
def verify(
    store: StoreOption = Path("runs"),
    sample: Annotated[
        int | None, typer.Option(min=1, help="Only this many finished cells, drawn at random, the same each time.")
    ] = None,
    data: DataOption = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Prove a store: checksums, hashes, and every score predicted again from the weights; exit code 1 where something does not hold."""
    from benchmark.display import StageDisplay
    from benchmark.environment import pick_device
    from benchmark.store import Store
    from benchmark.verification import finished
    from benchmark.verification import verify as prove

    opened, wrong = Store(store), 0
    folders = finished(opened, sample)
    if sample:
        _note(f"drawn of the finished cells: {', '.join(folder.path.name for folder in folders)}")
    with StageDisplay(err, "verifying", "cells") as stage, _stoppable():
        for verdict in prove(opened, folders, data, pick_device(device), stage.tell):
            wrong += bool(verdict.problems)
            state = "[red]does not hold[/]" if verdict.problems else "[green]holds[/]"
            out.print(f"{state}  {_escaped(verdict)}", highlight=False, soft_wrap=True)
            for problem in verdict.problems:
                out.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"{len(folders) - wrong} of {len(folders)} cells hold", highlight=False)
    if wrong:
        raise typer.Exit(1)


@app.command(epilog="Example: `python -m benchmark track --store runs --tracking http://localhost:5000`")
def track(store: StoreOption = Path("runs"), tracking: TrackingOption = None) -> None:
    """Bring an MLflow tracking server up to date with the records of a store; what is there already is left alone."""
    from benchmark.display import StageDisplay
    from benchmark.records import collect
    from benchmark.store import Store
    from benchmark.tracking import Mirror

    opened = Store(store)
    collect(opened)
    mirror = Mirror(opened, tracking)
    with StageDisplay(err, "tracking", "cells") as stage:
        mirror.add_all(stage.tell)
    out.print(f"mlflow ui --backend-store-uri {without_secrets(mirror.uri)}", highlight=False, soft_wrap=True)


@app.command(
    epilog="Examples:\n\n`python -m benchmark export --store runs --out results`\n\n"
    "`python -m benchmark report --store results`"
)
def export(
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write; an earlier export there is brought up to date.")],
    store: StoreOption = Path("runs"),
) -> None:
    """Copy the records of a store, without weights, caches and pictures: small enough for git, and a store to report, track and run."""
    from benchmark.display import StageDisplay
    from benchmark.exchange import export as copy
    from benchmark.store import Store

    with StageDisplay(err, "exporting", "cells") as stage:
        outcome = copy(Store(store), out_folder, stage.tell)
    if _exchanged(outcome, out_folder):
        raise typer.Exit(1)


@app.command(
    "import",
    epilog="Examples:\n\n`python -m benchmark import results --store runs`\n\n"
    "`python -m benchmark import laptop cluster --store all`",
)
def import_stores(
    sources: Annotated[list[Path], typer.Argument(help="Stores or exports to take cells from.")],
    store: StoreOption = Path("runs"),
) -> None:
    """Bring the cells of other stores into one; what contradicts what is there (same cell and code, other numbers) is named and refused."""
    from benchmark.display import StageDisplay
    from benchmark.exchange import merge
    from benchmark.store import Store

    refused = False
    for source in sources:
        with StageDisplay(err, f"importing {source}", "cells") as stage:
            outcome = merge(source, Store(store), stage.tell)
        refused |= _exchanged(outcome, store)
    if refused:
        raise typer.Exit(1)


def _exchanged(outcome: Outcome, where: Path) -> bool:
    """Tell what an export or import did; returns whether it refused anything."""
    for problem in outcome.refused:
        _note(f"refused: {problem}")
    out.print(f"{where}: {outcome}", highlight=False, markup=False, soft_wrap=True)
    return bool(outcome.refused)


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
    from benchmark import grid
    from benchmark.protocol import get_protocol
    from benchmark.registry import check_name

    chosen = get_protocol(protocol)
    check_name("datasets", dataset)
    site = _site(device, jobs, launcher, cells_per_gpu, slurm, ray)
    selections = grid.parse_methods(methods)

    from benchmark.preparation import prepare_shown
    from benchmark.records import collect
    from benchmark.session import Session
    from benchmark.store import Store
    from benchmark.tracking import where_installed
    from benchmark.tuning import Tuner, search_space
    from benchmark.tuning import tune as search
    from datasets.prepared import open_dataset
    from reports.tuning import studies_of, to_terminal, trials_of, write

    opened, root = open_dataset(dataset, data), Store(store)
    budgets = grid.parse_labels(labels, len(opened.split.train))
    spaces = [search_space(selection, budget) for budget in budgets for selection in selections]
    where, tracking = site(), where_installed(tracking, _note)
    prepare_shown(dataset, data, root, err)
    tuner = Tuner(opened, spaces, chosen, trials, sampler.value, pruner.value, storage, root, _command())
    with _stoppable():
        search(tuner, lambda cells: Session(cells, store, where, tracking, err).run())
    records = collect(root)
    found = trials_of(records)
    out.print(to_terminal(studies_of(found[found["study"].isin(tuner.names())])))
    _wrote(write(records, root.report / "tuning"))
    if tuner.failed():
        raise typer.Exit(1)


class Bits(StrEnum):
    """Bits of an intensity in a packed dataset."""

    eight = "8"
    sixteen = "16"


@app.command(
    epilog="Examples:\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC`\n\n"
    "`python -m benchmark prepare --dataset decathlon --data ~/Task04_Hippocampus --download`\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC --pack acdc.h5 --registrations 1,3,7`"
)
def prepare(
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
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
    from benchmark import registry

    kind = registry.load("datasets", dataset)
    if registrations and not pack:
        raise BadInput("--registrations belongs to --pack; name the file to write with --pack FILE")
    if download:
        if data is None:
            raise BadInput(f"--download needs --data FOLDER; expected where to put {dataset}")
        kind.download(data)  # type: ignore[attr-defined]

    from benchmark.preparation import pack_dataset, prepare_shown
    from benchmark.store import Store
    from datasets.summary import summarise
    from reports.dataset import to_terminal, write

    root = Store(store)
    prepared = prepare_shown(dataset, data, root, err)
    summary = summarise(prepared)
    out.print(to_terminal(summary))
    _wrote(write(summary, root.report / "datasets" / dataset))
    if pack:
        pack_dataset(prepared, pack, int(bits), registrations, runs, root, device, jobs or os.cpu_count() or 1, err)
        _wrote([pack])


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
    from benchmark import grid
    from benchmark.registry import check_name

    check_name("datasets", dataset)

    import torch

    from benchmark.environment import pick_device
    from benchmark.experiment import training_volumes
    from benchmark.preparation import prepare_shown
    from benchmark.session import register_all
    from benchmark.store import Store
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
        _wrote(write(quality, title, root.report / "registration" / dataset / name))


def _note(text: str) -> None:
    err.print(without_secrets(text), highlight=False, markup=False, soft_wrap=True)


def _wrote(files: list[Path]) -> None:
    for file in files:
        err.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command line; bad input is one sentence on stderr and exit code 2."""
    try:
        app()
    except (BadInput, OSError) as error:
        problem = _as_bad_input(error)
        err.print(f"[bold red]error:[/] {_escaped(problem)}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _as_bad_input(error: Exception) -> Exception:
    """A full disk, wherever it was met, in the words of the store; other errors of the operating system are not the user's to fix."""
    from benchmark.files import disk_full_is_told

    try:
        with disk_full_is_told():
            raise error
    except BadInput as problem:
        return problem


def _escaped(error: object) -> str:
    from rich.markup import escape

    return escape(without_secrets(str(error)))
