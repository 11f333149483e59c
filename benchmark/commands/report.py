"""``report``: the page, tables and figures of a store."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import note, out


class CodeChoice(StrEnum):
    """Whose runs ``report`` takes where different code made them."""

    newest = "newest"
    all = "all"


@command(
    epilog="Examples:\n\n`python -m benchmark report --store runs`\n\n"
    "`python -m benchmark report --store laptop --store cluster --out report --baseline mean_teacher --labels 1,3`"
)
def report(
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", help="Folder or file of records; may come again to merge several.  [default: runs]"),
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
    from benchmark.records.packed import opened as open_store
    from benchmark.records.table import collect
    from benchmark.study.grid import parse_numbers
    from reports.tables.leaderboard_forms import to_terminal
    from reports.tables.tuning import studies_of, trials_of
    from reports.tables.tuning import to_terminal as tuned
    from reports.writing.report import write_report

    opened = [open_store(path) for path in stores or [Path("runs")]]
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
    if table.empty:
        out.print(tuned(studies_of(trials_of(records))))
    else:
        out.print(to_terminal(table))
    if len(table) and baseline not in set(table["variant"]):
        known = ", ".join(sorted(set(table["variant"])))
        note(f"note: no record of {baseline}, so nothing is compared with it; there are {known}")
    note(f"wrote {files[-1]}, and {len(files) - 1} tables and figures beside it")
