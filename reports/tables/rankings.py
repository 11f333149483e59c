"""The ranks of each method under several ways to rank, side by side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics.rankings import MEAN, MEDIAN, RANKS, WORST_RUN, WORST_TENTH, rankings
from reports.tables.comparable import SECTION, rows_of
from reports.tables.comparison import Field

TEST = "test then rank"
ORDER = [MEAN, RANKS, MEDIAN, TEST, WORST_RUN, WORST_TENTH]
COLUMNS = [*SECTION, "labels", "variant", "ranking", "value", "rank", "low", "high"]
NOTE = (
    "Ranks of DSC, 1 best, of methods that have done the same runs; in brackets 95 % of ranks over resamples of runs and cases, and for"
    " test then rank those that the tests leave open; none where one run is done. Mean then rank: of means over runs and cases. Rank then"
    " mean: of mean ranks in each run and case. Median: of cases. Test then rank: by how many others a method is better than. Worst draw:"
    " of the lowest mean of a draw (or, of one draw, seed). Worst tenth: of the mean over a method's own lowest tenth of cases."
)


def rankings_of(found: list[Field]) -> pd.DataFrame:
    """A row per budget, variant and way to rank (ORDER): what is ranked (DSC fractions, mean ranks, or wins), rank, its range."""
    rows: list[list[Any]] = []
    for field in (field.ranked.together for field in found):
        if len(field.variants) < 2 or not field.complete.size:
            continue
        each = {
            name: (one.value, one.rank, np.stack([one.low, one.high], axis=1)) for name, one in rankings(field.complete).items()
        }
        each[TEST] = (field.wins.sum(1), field.ranks_by_test, field.rank_ranges)
        for place, variant in enumerate(field.variants):
            for name in ORDER:
                value, rank, ends = (of[place] for of in each[name])
                rows.append([*field.section, field.labels, variant, name, float(value), float(rank), *map(float, ends)])
    return pd.DataFrame(rows, columns=COLUMNS)


def as_texts(table: pd.DataFrame) -> list[list[str]]:
    """Of one section: labels, method, and in ORDER its ranks, a row per budget and variant."""
    rows: dict[tuple[int, str], list[str]] = {}
    for row in rows_of(table):
        ends = "" if math.isnan(row.low) else f" ({row.low:g} to {row.high:g})"
        rows.setdefault((row.labels, row.variant), []).append(f"{row.rank:g}{ends}")
    return [[str(labels), variant, *ranks] for (labels, variant), ranks in rows.items()]


def ranks_are_of(field: Field) -> str:
    """Which methods and runs ranks are of: nothing to say where all methods have done all runs."""
    of, size = field.together, len(field.variants)
    some = f" of {len(of.variants)} of {size} methods" * (len(of.variants) < size)
    return "" if of is field else f"{some} in {of.runs_in_words}"


def resampled(field: Field) -> str:
    """What ranks are resampled over."""
    of = field.together
    return "runs and cases" if of.done.all() and of.per_unit.shape[1] > 1 else "cases"
