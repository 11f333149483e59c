"""The report as one HTML file: opens offline, needs nothing beside it, is the same bytes for the same records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from reports.page.columns import COLUMNS, FILTERS, METRIC_COLUMNS, TASK
from reports.page.words import listed
from reports.tables.leaderboard_forms import NOTES
from reports.tables.paper import PACKAGE, cited

if TYPE_CHECKING:
    from benchmark.records.table import Records

TEMPLATES = Path(__file__).with_name("templates")
TITLE = "Semi-supervised segmentation: leaderboard"


def page(
    records: Records,
    rows: list[list[Any]],
    sections: list[dict[str, Any]],
    summary: list[str],
    words: Sequence[str],
    looks: dict[str, str],
    shapes: dict[str, str],
    tables: Sequence[Path],
) -> str:
    """The whole page.

    rows: of ``table_rows``. sections: title, table and figures of each. summary: what was compared. words: what the data can say.
    looks: by method, its line as SVG; shapes: that these use. tables: files beside the page that hold its numbers.
    """
    data = {
        "columns": [
            {k: v for k, v in vars(column).items() if v not in (None, "", False)} | {"header": column.header}
            for column in COLUMNS
        ],
        "rows": rows,
        "filters": [{"key": key, "title": title, "start": start} for key, title, start in FILTERS],
        "metrics": METRIC_COLUMNS,
        "task": TASK,
    }
    cells = records.without_trials().cells
    problems = cells[cells["outcome"] != "done"].reindex(
        columns=["variant", "dataset", "labels", "draw", "seed", "outcome", "error"]
    )
    for figure in (figure for section in sections for figure in section.get("figures", [])):
        shapes = shapes | figure.get("shapes", {})
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html").render(
        title=TITLE,
        summary=summary,
        words=[*words, *(f"{note}." for note in records.notes)],
        notes=NOTES,
        columns=[column for column in COLUMNS if column.header and column.help and not column.chosen],
        rows=rows,
        methods=list(looks.items()),
        sections=sections,
        shapes="".join(shapes[name] for name in sorted(shapes)),
        problems=problems.assign(error=problems["error"].astype(object).fillna("")).to_dict("records"),
        colophon=colophon(records.cells),
        citation=cited(records.cells),
        tables=[path.as_posix() for path in tables],
        data=json.dumps(data, separators=(",", ":"), default=_number).replace("<", "\\u003c"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
    )


def colophon(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Where the numbers come from: what is known of version, records, runs, machines, code and data."""
    known = cells.reindex(columns=["ended", "machine", "draw", "seed", "code_hash", "data_hash", "protocol_hash"])
    ended = sorted(str(text) for text in known["ended"].dropna() if text)
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        version = "unknown"
    lines = [("Version", f"{PACKAGE} {version}"), ("Newest record", ended[-1] if ended else "not known")]
    lines += [(title, listed(known[name])) for title, name in (("Draws", "draw"), ("Seeds", "seed"))]
    names = (("Machines", "machine"), ("Code", "code_hash"), ("Data", "data_hash"), ("Rules", "protocol_hash"))
    return lines + [
        (title, listed(known[name].dropna()) if known[name].notna().any() else "not known") for title, name in names
    ]


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
