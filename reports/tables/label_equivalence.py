"""With how many labels the baseline is as good as a method with few: a number that a clinic can count."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd

from reports.statistics.label_equivalence import equivalent_labels
from reports.statistics.random_effects import Estimate, Part, of_one, sum_over_budgets, weighted
from reports.tables.comparable import SECTION
from reports.tables.comparison import Field, baseline_of

COLUMNS = [*SECTION, "labels", "variant", "baseline", "equivalent", "low", "high", "fewest", "most"]


def label_equivalence(found: list[Field], baseline: str) -> pd.DataFrame:
    """A row per variant and budget of each section in which the baseline has two budgets at least.

    equivalent: the labels with which the baseline scores as high (DSC), low, high: its 95 % interval over runs and cases; infinite where
    they are more than ``most``, the baseline's largest budget, 0 where fewer than ``fewest``, NaN ends where a budget has one run.
    """
    rows: list[list[Any]] = []
    for section, group in itertools.groupby(found, key=lambda field: field.section):
        name = baseline_of(baseline, section)
        fields = sorted((field.ranked for field in group if field.ranked.variants), key=lambda field: field.labels)
        curve = [field for field in fields if name in field.variants]
        if len(curve) < 2:
            continue
        cases = sorted(set.intersection(*(set(field.cases) for field in fields)))
        labels = np.array([field.labels for field in curve], dtype=float)
        means = np.array([field.adjusted[field.variants.index(name)] for field in curve])
        parts = _Parts(fields, cases)
        for field in fields:
            for place, variant in enumerate(field.variants):
                if variant != name:
                    score = float(field.adjusted[place])
                    worth = equivalent_labels(labels, means, score, _Difference(field, place, curve, name, parts))
                    ends = [worth.value, worth.low, worth.high, curve[0].labels, curve[-1].labels]
                    rows.append([*section, field.labels, variant, name, *ends])
    return pd.DataFrame(rows, columns=COLUMNS)


class _Parts:
    """Weighted scores on the cases of all budgets; those of one variant are made once, for they come again and again."""

    def __init__(self, fields: list[Field], cases: list[str]) -> None:
        self.scores = {f.labels: f.per_unit[:, :, [f.cases.index(case) for case in cases]] for f in fields}
        self.made: dict[tuple[int, int, float], Part] = {}

    def __call__(self, field: Field, weights: np.ndarray) -> Part:
        places = np.flatnonzero(weights)
        if len(places) > 1:
            return weighted(self.scores[field.labels], weights, field.spread)
        key = (field.labels, int(places[0]), float(weights[places[0]]))
        if key not in self.made:
            self.made[key] = weighted(self.scores[field.labels], weights, field.spread)
        return self.made[key]


class _Difference:
    """Of a segment and a share of the way along it: a variant's score less the baseline's curve, on the cases of all budgets."""

    def __init__(self, own: Field, place: int, curve: list[Field], baseline: str, parts: _Parts) -> None:
        self.own, self.place, self.curve, self.baseline, self.parts = own, place, curve, baseline, parts

    def __call__(self, segment: int, share: float) -> Estimate:
        weights = {self.own.labels: (self.own, of_one(len(self.own.variants), self.place))}
        for field, weight in zip(self.curve[segment : segment + 2], (1 - share, share), strict=True):
            of_baseline = of_one(len(field.variants), field.variants.index(self.baseline))
            _, so_far = weights.get(field.labels, (field, 0.0))
            weights[field.labels] = (field, so_far - weight * of_baseline)
        parts = [self.parts(field, w) for field, w in weights.values() if w.any()]
        return sum_over_budgets(parts, max(field.spread.overlap for field, _ in weights.values()))


def in_words(row: Any) -> str:
    """What a row comes to: "9.4 [7, 14]", "more than 70", "fewer than 1"."""
    if math.isinf(row.equivalent):
        value = f"more than {row.most}"
    else:
        value = f"{row.equivalent:.2g}" if row.equivalent else f"fewer than {row.fewest}"
    if math.isnan(row.low) or (row.low == row.most and math.isinf(row.high)) or (row.high == row.fewest and not row.low):
        return value
    low = f"{row.low:.2g}" if row.low else f"fewer than {row.fewest}"
    return f"{value} [{low}, {f'more than {row.most}' if math.isinf(row.high) else f'{row.high:.2g}'}]"
