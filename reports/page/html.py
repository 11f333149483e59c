"""The report as one HTML file: opens offline, needs nothing beside it, is the same bytes for the same records."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from reports.page.columns import COLUMNS, FILTERS, METRIC_COLUMNS
from reports.page.words import in_words, listed, summary
from reports.tables.comparison import MARGIN, Field
from reports.tables.leaderboard_forms import NOTES

if TYPE_CHECKING:
    from benchmark.records.table import Records

TEMPLATES = Path(__file__).with_name("templates")


def picture(png: bytes) -> str:
    """A PNG as a data URI, made small: few colours are enough for a plot."""
    from PIL import Image

    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(96, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        small, "PNG"
    )
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def page(
    records: Records,
    baseline: str,
    rows: list[list[Any]],
    found: list[Field],
    sections: list[dict[str, Any]],
    tuning: list[dict[str, str]],
    margin: float = MARGIN,
    said: Sequence[str] = (),
) -> str:
    """The whole page.

    rows: of ``table_rows``. found: what was compared, by the last weights. sections: title and figures (caption, source) of each; tuning:
    figures. margin: DSC points within which methods count as equivalent. said: more sentences of what the data can say.
    """
    data = {
        "columns": [
            {k: v for k, v in vars(column).items() if v not in (None, "")} | {"header": column.header} for column in COLUMNS
        ],
        "rows": rows,
        "filters": [{"key": key, "title": title, "start": start} for key, title, start in FILTERS],
        "metrics": METRIC_COLUMNS,
    }
    cells = records.without_trials().cells
    problems = cells[cells["outcome"] != "done"].reindex(
        columns=["variant", "dataset", "labels", "draw", "seed", "outcome", "error"]
    )
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    return environment.get_template("report.html").render(
        title="Semi-supervised segmentation: leaderboard",
        summary=summary(records, baseline),
        words=[*in_words(found, baseline, margin), *said, *(f"{note}." for note in records.notes)],
        notes=NOTES,
        sections=sections,
        tuning=tuning,
        problems=problems.fillna({"error": ""}).to_dict("records"),
        colophon=f"Code {listed(cells['code_hash'].dropna())}; data {listed(cells['data_hash'].dropna())}.",
        data=json.dumps(data, separators=(",", ":"), default=_number).replace("<", "\\u003c"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
