"""``ls``: what there is."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmark.commands.app import command
from benchmark.commands.console import err, note, out
from benchmark.commands.options import (
    DataOption,
    DatasetOption,
    PluginOption,
    StoreOption,
)


class Listing(StrEnum):
    """What ``ls`` can list."""

    methods = "methods"
    datasets = "datasets"
    protocols = "protocols"
    draws = "draws"
    cells = "cells"


@command(
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
    """List methods and datasets, with where they come from; protocols; the cells of a store (done, running where, failed why, to do); or
    the cases that each draw of a dataset labels first (the next budget adds to them)."""
    if what is Listing.cells:
        _list_cells(store)
        return
    rows: list[tuple[str, ...]]
    if what is Listing.draws:
        from benchmark.ground.registry import check_name
        from datasets.draws import DRAWS, labelled_cases
        from datasets.preparing import open_dataset

        check_name("datasets", dataset)
        opened = open_dataset(dataset, data)
        train, groups = opened.split.train, opened.train_groups
        shown = min(7, len(train))
        rows = [(f"draw {d}", "  ".join(labelled_cases(dataset, train, shown, d, groups))) for d in DRAWS]
    elif what is Listing.protocols:
        from benchmark.ground.protocol import PROTOCOLS

        told = _measured()
        rows = [
            row for p in PROTOCOLS.values() for row in ((p.name, p.summary), *(("", line) for line in told.get(p.name, ())))
        ]
    else:
        from rich.markup import escape

        from benchmark.ground.registry import entries

        rows = [(e.name, escape(e.summary), escape(e.origin)) for e in entries(what.value).values()]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _measured() -> dict[str, list[str]]:
    """What each protocol can reach on the datasets on which that was measured, a line each."""
    from importlib.resources import files

    import yaml

    found = yaml.safe_load((files("benchmark.ground") / "measured.yaml").read_text(encoding="utf-8"))
    lines: dict[str, list[str]] = {}
    for protocol, entries in found.items():
        for entry in entries:
            reached = f"supervised with all {entry['cases']} cases labelled {entry['dsc']} DSC %; " if "dsc" in entry else ""
            pixels = ", ".join(f"{name} {value}" for name, value in entry["pixels"].items())
            lines.setdefault(protocol, []).append(f"  {entry['dataset']}: {reached}a perfect mask at its pixels {pixels}")
    return lines


def _list_cells(store: Path) -> None:
    from rich.markup import escape

    from benchmark.records.packed import opened
    from benchmark.records.status import counts, statuses

    found, unreadable = statuses(opened(store))
    rows = [(s.state, s.folder.path.name, s.about.dataset, s.about.protocol, s.about.text, s.note) for s in found]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    colours = {"done": "green", "outdated": "yellow", "running": "cyan", "failed": "red", "damaged": "red", "to do": "yellow"}
    for state, *texts in rows:
        line = "  ".join(text.ljust(width) for text, width in zip(texts, [*widths[1:], 0], strict=True)).rstrip()
        if out.color_system is None:  # a pipe: a hundred thousand lines at once
            print(f"{state.ljust(widths[0])}  {line}", file=out.file)
        else:
            out.print(f"[{colours[state]}]{state.ljust(widths[0])}[/]  {escape(line)}", highlight=False, soft_wrap=True)
    for problem in unreadable:
        note(f"left out: {problem}")
    err.print(counts(found), highlight=False)
