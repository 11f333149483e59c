"""Every figure of a section: what it shows, and when there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure

from reports.figures.label_efficiency import label_efficiency
from reports.figures.published import against_published
from reports.figures.ranking import ranking
from reports.figures.registration_gain import PROPAGATION, registration_gain
from reports.figures.scores import by_class, by_run, differences, every_case
from reports.figures.training import cost, training
from reports.tables.comparable import SECTION
from reports.tables.comparison import Field, baseline_of
from reports.tables.rankings import ranks_are_of, resampled

if TYPE_CHECKING:
    from benchmark.records.table import Records


WHY_NOT_STARS = "filled and coloured where the Holm-adjusted p is below .05"
OVERVIEW = (
    "DSC against labelled cases with 95 % intervals (over runs and cases; over cases only where one run is done), a panel a method beside"
    " {baseline}; grey: the others."
)


@dataclass(frozen=True)
class Drawing:
    """A figure of a section, still to be drawn: file name, caption; ``draw`` returns None where the records have nothing for it."""

    name: str
    caption: str
    draw: Callable[[], Figure | None]


def drawings(
    found: list[Field], records: Records, board: pd.DataFrame, baseline: str, numbers: dict[str, int]
) -> list[Drawing]:
    """Every figure of a section. numbers: of variants, for their looks."""
    rows, base = board[(board[SECTION] == list(found[0].section)).all(axis=1)], baseline_of(baseline, found[0].section)
    every = [
        Drawing("label-efficiency", OVERVIEW.format(baseline=base), lambda: label_efficiency(rows, base, numbers)),
        Drawing(
            "cases",
            "Every test case: a dot is a case's DSC, mean over classes and the runs that all have done; the bar is the mean.",
            lambda: every_case(found),
        ),
    ]
    for against in dict.fromkeys((baseline, "cctr")):
        caption = f"Differences from {against} with 95 % interval (over cases only, if one run is done); {WHY_NOT_STARS}."
        every.append(Drawing(f"against-{against}", caption, partial(differences, found, against)))
    every.append(Drawing("classes", "Mean DSC (%) of each class; hatched: not there.", lambda: by_class(found, records)))
    if any(len(field.runs) > 1 for field in found):
        caption = "Mean DSC (%) of each run (draw, seed): columns that differ say how much the labelled cases matter; hatched: not run."
        every.append(Drawing("runs", caption, lambda: by_run(found)))
    for field in found:
        ranked = field.ranked
        if len(ranked.variants) > 1:
            caption = (
                f"{field.labels} labelled: ranks{ranks_are_of(ranked)} over 10,000 resamples of {resampled(ranked)}; and each row"
                " against each column: above the diagonal, where the row has the higher mean, the points between them, below it the"
                " Holm-adjusted p of all pairs. Blue: the row is better, orange: it is worse."
            )
            every.append(Drawing(f"ranks-{field.labels}", caption, partial(ranking, ranked)))
    caption = (
        f"Does segmentation gain where registration works? A dot is a test case: across, the DSC of {PROPAGATION} (warped labels,"
        f" no network); up, what a method with a registration term gains over {baseline}. Cases that are hard for the"
        " baseline leave more to gain, so a correlation is no cause."
    )
    return [
        *every,
        Drawing(
            "cost",
            "Accuracy against training time; the grey line joins what nothing else beats in both.",
            lambda: cost(found, board, numbers),
        ),
        Drawing("registration-gain", caption, lambda: registration_gain(found, records, baseline, numbers)),
        Drawing("training", "Validation DSC during training, mean over runs.", lambda: training(found, records, numbers)),
        Drawing(
            "published",
            "Ours beside published numbers; protocols differ, see the verdict column of the leaderboard.",
            lambda: against_published(board, found[0].section),
        ),
    ]
