"""The commands that read stores, and move records between them: ls, report, verify, track, export and import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from benchmark.commands.console import app, err, escaped, note, out, stoppable, wrote
from benchmark.commands.options import (
    DataOption,
    DatasetOption,
    DeviceOption,
    PluginOption,
    StoreOption,
    TrackingOption,
)
from benchmark.ground.redaction import without_secrets

if TYPE_CHECKING:
    from benchmark.records.exchange import Outcome


class Listing(StrEnum):
    """What ``ls`` can list."""

    methods = "methods"
    datasets = "datasets"
    protocols = "protocols"
    draws = "draws"
    cells = "cells"


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
        from benchmark.ground.registry import check_name
        from datasets.draws import DRAWS, labelled_cases
        from datasets.prepared import open_dataset

        check_name("datasets", dataset)
        opened = open_dataset(dataset, data)
        train, groups = opened.split.train, opened.train_groups
        shown = min(7, len(train))
        rows = [(f"draw {d}", "  ".join(labelled_cases(dataset, train, shown, d, groups))) for d in DRAWS]
    elif what is Listing.protocols:
        from benchmark.ground.protocol import PROTOCOLS

        rows = [(p.name, p.summary) for p in PROTOCOLS.values()]
    else:
        from benchmark.ground.registry import entries

        rows = [(e.name, e.summary) for e in entries(what.value).values()]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _list_cells(store: Path) -> None:
    from rich.markup import escape

    from benchmark.records.status import counts, statuses
    from benchmark.records.store import Store

    found, unreadable = statuses(Store(store))
    rows = [(s.state, s.cell.id, s.cell.dataset, s.cell.protocol.title, f"{s.cell}", s.note) for s in found]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    colours = {"done": "green", "outdated": "yellow", "running": "cyan", "failed": "red", "damaged": "red", "to do": "yellow"}
    for state, *texts in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(texts, [*widths[1:], 0], strict=True)).rstrip()
        out.print(f"[{colours[state]}]{state.ljust(widths[0])}[/]  {escape(line)}", highlight=False, soft_wrap=True)
    for problem in unreadable:
        note(f"left out: {problem}")
    err.print(counts(found), highlight=False)


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
    margin: Annotated[float, typer.Option(min=0.0, help="DSC points within which two methods count as equivalent.")] = 1.0,
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
    from benchmark.records.ablations import remembered
    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.study.grid import parse_numbers
    from reports.tables.leaderboard_forms import to_terminal
    from reports.writing.report import write_report

    opened = [Store(path) for path in stores or [Path("runs")]]
    records = collect(*opened, code=code.value)
    for left_out in records.notes:
        note(f"note: {left_out}")
    if labels is not None:
        records = records.select(records.cells["labels"].isin(parse_numbers("--labels", labels)))
    pictures = []
    if overlays:
        from benchmark.cell.overlays import overlays as cases_of

        pictures = list(cases_of(records, opened, baseline))
    ablations = remembered(*opened, tell=lambda left_out: note(f"note: {left_out}"))
    table, files = write_report(records, out_folder or opened[0].report, baseline, ablations, pictures, margin)
    out.print(to_terminal(table))
    if baseline not in set(table["variant"]):
        known = ", ".join(sorted(set(table["variant"])))
        note(f"note: no record of {baseline}, so nothing is compared with it; there are {known}")
    wrote(files)


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
    from benchmark.ground.environment import pick_device
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay
    from benchmark.study.verification import finished
    from benchmark.study.verification import verify as prove

    opened, wrong = Store(store), 0
    folders = finished(opened, sample)
    if sample:
        note(f"drawn of the finished cells: {', '.join(folder.path.name for folder in folders)}")
    with StageDisplay(err, "verifying", "cells") as stage, stoppable():
        for verdict in prove(opened, folders, data, pick_device(device), stage.tell):
            wrong += bool(verdict.problems)
            state = "[red]does not hold[/]" if verdict.problems else "[green]holds[/]"
            out.print(f"{state}  {escaped(verdict)}", highlight=False, soft_wrap=True)
            for problem in verdict.problems:
                out.print(f"  {problem}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"{len(folders) - wrong} of {len(folders)} cells hold", highlight=False)
    if wrong:
        raise typer.Exit(1)


@app.command(epilog="Example: `python -m benchmark track --store runs --tracking http://localhost:5000`")
def track(store: StoreOption = Path("runs"), tracking: TrackingOption = None) -> None:
    """Bring an MLflow tracking server up to date with the records of a store; what is there already is left alone."""
    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.records.tracking import Mirror
    from benchmark.study.display import StageDisplay

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
    from benchmark.records.exchange import export as copy
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay

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
    from benchmark.records.exchange import merge
    from benchmark.records.store import Store
    from benchmark.study.display import StageDisplay

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
        note(f"refused: {problem}")
    out.print(f"{where}: {outcome}", highlight=False, markup=False, soft_wrap=True)
    return bool(outcome.refused)
