"""Every metric and every class, judged as the headline is: means and differences from a baseline, over runs and cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.statistics.random_effects import mean
from reports.tables.case_scores import case_scores, class_scores, reported_cases
from reports.tables.comparable import METHOD, SECTION
from reports.tables.comparison import MARGIN, Field, baseline_of, fields_of
from reports.tables.leaderboard import FRACTIONS, METRICS

if TYPE_CHECKING:
    from benchmark.records.table import Records

ALL_CLASSES = "mean"
"""What stands for a class where a score is the mean over classes."""

GROUP = [*SECTION, "labels", "class", "metric"]
COLUMNS = [
    *[*SECTION, "selection", "labels", "variant", "class", "metric", "mean", "low", "high", "shift", "shift_low", "shift_high"],
    *["p", "verdict", "flip", "runs", "units", "cases"],
]


def by_metric(records: Records, baseline: str, selection: str = "last", margin: float = MARGIN) -> pd.DataFrame:
    """A row per section, budget, variant, class (or ALL_CLASSES) and metric.

    mean, low, high: as the leaderboard's. shift, shift_low, shift_high: variant less baseline, in the metric's own unit (fractions,
    or ``spacing_unit``). p is adjusted over the variants (Holm), not over metrics and classes. verdict: "better" is a higher DSC or
    NSD, or a smaller distance; "equivalent" is said of DSC alone. flip: as ``Field.flip``. Structures that are in neither
    prediction nor truth have no distance: a case without one in some run counts in means, not in intervals and tests. cases: those
    that count there.

    Args:
        margin: DSC points within which two methods count as equivalent.

    Raises:
        BadInput: as ``leaderboard``.
    """
    records = records.without_trials()
    cases = reported_cases(records, METRICS, selection)
    scores = pd.concat([case_scores(cases).assign(**{"class": ALL_CLASSES}), class_scores(cases).astype({"class": str})])
    scores = scores.merge(cases[["cell", *METHOD, "draw", "seed"]].drop_duplicates("cell"), on="cell")
    scores["class"] = scores["class"].astype("category")  # millions of rows are grouped by it
    scores["value"] *= np.where(scores["metric"].isin(FRACTIONS), 1.0, -1.0)
    rows: list[dict[str, Any]] = []
    for key, field in fields_of(records, scores, GROUP, selection):
        where = dict(zip(GROUP, map(str, key), strict=True)) | {"labels": field.labels, "selection": selection}
        rows += [where | row for row in _rows(field, baseline_of(baseline, field.section), str(key[-1]), margin)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(field: Field, baseline: str, metric: str, margin: float) -> list[dict[str, Any]]:
    """A row per variant of a field, in the metric's own sign; comparisons are of what has converged alone."""
    sign, most = (1, 1.0) if metric in FRACTIONS else (-1, np.inf)
    tests = {one.variant: one for one in field.ranked.tests(baseline, margin if metric == "dsc" else 0.0)}
    lacking = field.adjusted - mean(mean(field.per_unit, 2), 1)
    rows = []
    for place, variant in enumerate(field.variants):
        found = field.mean(place)
        low, high = np.clip(sorted(sign * (end + lacking[place]) for end in found.interval()), 0, most)
        runs = field.scores[place]
        row = {"variant": variant, "mean": sign * (float(np.nanmean(runs)) + lacking[place]), "low": low, "high": high}
        row |= {"runs": int((~np.isnan(runs).all(1)).sum()), "units": found.runs, "cases": found.cases}
        if variant in tests:
            one = tests[variant]
            ends = sorted(sign * end + 0.0 for end in one.shift.interval())
            row |= {"shift": sign * one.shift.value + 0.0, "shift_low": ends[0], "shift_high": ends[1]}
            row |= {"p": one.p, "verdict": one.verdict, "flip": one.flip}
        rows.append(row)
    return rows
