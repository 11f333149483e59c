"""How many labels a baseline needs to be as good: its label-efficiency curve, inverted with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from reports.statistics.random_effects import Estimate

STEPS = 8
"""Of a segment of the curve, at which a difference is looked at; between them its interval's ends are taken as straight."""


@dataclass(frozen=True)
class Labels:
    """A number of labels with its interval; infinite where it is more than the curve has, 0 where it is fewer, NaN where unknown."""

    value: float
    low: float
    high: float


def equivalent_labels(
    labels: np.ndarray, means: np.ndarray, score: float, difference: Callable[[int, float], Estimate], level: float = 0.95
) -> Labels:
    """Where a curve over labels has this score.

    The curve is straight between budgets over the logarithm of labels; the value is read off its monotone fit (isotonic regression). The
    interval holds every number of labels that the test of no difference does not rule out (Fieller, J. R. Stat. Soc. B 1954).

    Args:
        labels: (K,) budgets, increasing, two at least. means: (K,) of the baseline.
        difference: of segment k and share w of the way from budget k to k + 1: score less curve.
    """
    value = _inverse(labels, optimize.isotonic_regression(means).x, score)
    where, ends, signs = [], [], []
    for segment in range(len(labels) - 1):
        for share in np.linspace(0, 1, STEPS + 1):
            found = difference(segment, float(share))
            low, high = found.interval(level)
            where.append(np.log(labels[segment]) * (1 - share) + np.log(labels[segment + 1]) * share)
            ends.append(max(low, -high))  # at most 0 where the interval holds 0
            signs.append(found.value)
    if np.isnan(ends).any():
        return Labels(value, np.nan, np.nan)
    inside = np.flatnonzero(np.array(ends) <= 0)
    if not len(inside):  # beyond the curve as a whole, or crossed between two steps
        return Labels(
            value, *((labels[-1], np.inf) if min(signs) > 0 else (0.0, labels[0]) if max(signs) < 0 else (value, value))
        )
    first, last = int(inside[0]), int(inside[-1])
    start = 0.0 if first == 0 else _crossing(where, ends, first - 1, first)
    end = np.inf if last == len(where) - 1 else _crossing(where, ends, last, last + 1)
    return Labels(value, min(start, value), max(end, value))


def _crossing(where: list[float], ends: list[float], a: int, b: int) -> float:
    """The labels at which the interval's end passes 0 between two steps."""
    share = ends[a] / (ends[a] - ends[b]) if ends[a] != ends[b] else 0.0
    return float(np.exp(where[a] + share * (where[b] - where[a])))


def _inverse(labels: np.ndarray, curve: np.ndarray, score: float) -> float:
    """The fewest labels at which a curve that never falls has the score."""
    if score > curve[-1]:
        return np.inf
    if score < curve[0]:
        return 0.0
    k = int(np.argmax(curve >= score))
    if k == 0:
        return float(labels[0])
    share = (score - curve[k - 1]) / (curve[k] - curve[k - 1])
    return float(np.exp(np.log(labels[k - 1]) + share * np.log(labels[k] / labels[k - 1])))
