"""Write into docs/results/README.md the tables of the records that lie beside it: `make results`; a test holds that none is stale."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.records.store import Store
from benchmark.records.table import collect
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
PLACE = re.compile(r"(<!-- table of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""Where the table of a store belongs."""


def with_tables(text: str) -> str:
    """The page's text with each table as its records give it now."""
    return PLACE.sub(lambda place: place[1] + _table(place[2]) + place[3], text)


def _table(store: str) -> str:
    table = leaderboard(collect(Store(RESULTS / store)))
    return to_markdown(table).removeprefix("# Leaderboard\n").replace("\n## ", "\n### ")


if __name__ == "__main__":
    page = RESULTS / "README.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
