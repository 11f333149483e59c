"""Rankings side by side: what order methods come in depends on what is averaged, and over what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 500
MEAN, RANKS, MEDIAN, WORST_RUN, WORST_TENTH = (
    "mean then rank",
    "rank then mean",
    "median then rank",
    "worst draw",
    "worst tenth of cases",
)


@dataclass(frozen=True)
class Ranking:
    """A way to rank M methods: value (M,), what is ranked; rank (M,), 1 best; low, high (M,): ranks over resamples, NaN of one run."""

    value: np.ndarray
    rank: np.ndarray
    low: np.ndarray
    high: np.ndarray


def rankings(scores: np.ndarray, level: float = 0.95) -> dict[str, Ranking]:
    """Of scores (M, R, C), methods x runs (units) x cases, all defined, more is better; equal values share their mean rank.

    MEAN: of the mean over runs and cases. RANKS: of the mean of the ranks in each run and case (its value). MEDIAN: of the median over
    cases of their means over runs. WORST_RUN: of the lowest run mean. WORST_TENTH: of the mean over a method's lowest tenth of cases.
    low and high are percentiles over RESAMPLES of runs and cases (Wiesenfarth et al., Sci. Rep. 2021, over cases).
    """
    within = stats.rankdata(-scores.round(12), axis=0)  # in each run and case: the same in every resample
    values = _values(scores, within)
    ranks = {name: _ranked(name, value) for name, value in values.items()}
    methods, runs, cases = scores.shape
    unknown = np.full(methods, np.nan)
    if runs < 2:
        return {name: Ranking(values[name], ranks[name], unknown, unknown) for name in values}
    rng, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        of_run, of_case = rng.integers(0, runs, runs), rng.integers(0, cases, cases)
        drawn.append(_values(scores[:, of_run][:, :, of_case], within[:, of_run][:, :, of_case]))
    found = {}
    for name in values:
        again = _ranked(name, np.stack([one[name] for one in drawn], axis=1))
        low, high = np.quantile(again, [(1 - level) / 2, (1 + level) / 2], axis=1, method="inverted_cdf")
        found[name] = Ranking(values[name], ranks[name], low, high)
    return found


def _values(scores: np.ndarray, within: np.ndarray) -> dict[str, np.ndarray]:
    of_case = scores.mean(1)
    tenth = -(-of_case.shape[1] // 10)
    return {
        MEAN: scores.mean((1, 2)),
        RANKS: within.mean((1, 2)),
        MEDIAN: np.median(of_case, 1),
        WORST_RUN: scores.mean(2).min(1),
        WORST_TENTH: np.sort(of_case, 1)[:, :tenth].mean(1),
    }


def _ranked(name: str, values: np.ndarray) -> np.ndarray:
    """Ranks along the first axis; of mean ranks fewer is better."""
    return stats.rankdata((values if name == RANKS else -values).round(12), axis=0)
