"""What else could have come out: bootstrap over runs and cases of ranks, wins and gaps closed. NaN means not defined."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 10_000


@functools.lru_cache(maxsize=32)
def _times_drawn(n: int, seed: int) -> np.ndarray:
    """(RESAMPLES, n): how often each of n things is drawn in n draws with replacement."""
    return np.random.default_rng((seed, n)).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)


def _defined(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]


def better_probability(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """P(A > B) over paired runs, ties counting half, with its bootstrap interval over runs: (probability, low, high).

    Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021.

    Args:
        a, b: (R,) mean scores of the same runs (draw, seed); a run where either is NaN is left out.

    Returns:
        NaN for the interval where there is one run. Where all runs agree it has no width, which is no certainty: of 5 runs of
        equals all agree once in 16 times.
    """
    wins = np.sign(_defined(np.asarray(a, dtype=float) - b)) / 2 + 0.5
    if len(wins) < 2:
        return float(wins[0]) if len(wins) else np.nan, np.nan, np.nan
    resampled = _times_drawn(len(wins), seed=0) @ wins / len(wins)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(wins.mean()), float(low), float(high)


@dataclass(frozen=True)
class Ranks:
    """Ranks of M methods, 1 best: of the means, how often each takes each rank when other runs and cases are drawn, stability.

    rank: (M,). frequency: (M, M), method by rank. tau: mean Kendall tau of resampled rankings to the full one.
    """

    rank: np.ndarray
    frequency: np.ndarray
    tau: float


def rank_bootstrap(scores: np.ndarray) -> Ranks:
    """Mean-then-rank and its bootstrap over runs and cases (Wiesenfarth et al., challengeR, Sci. Rep. 2021, over cases); tied means
    share their mean rank. What there is one of is not resampled.

    Args:
        scores: (M, R, C) methods x runs x cases, higher is better; NaN is left out of a mean, and a method without any is last.
    """
    methods, runs, cases = scores.shape
    of_run = np.vstack([np.ones(runs), _times_drawn(runs, seed=0)])
    of_case = np.vstack([np.ones(cases), _times_drawn(cases, seed=1)])
    defined = ~np.isnan(scores)
    filled = np.where(defined, scores, 0.0)
    totals = np.stack([np.einsum("bc,bc->b", of_run @ filled[i], of_case) for i in range(methods)], axis=1)
    counts = np.stack([np.einsum("bc,bc->b", of_run @ defined[i], of_case) for i in range(methods)], axis=1)
    means = np.where(counts > 0, totals / np.maximum(counts, 1), -np.inf)
    full, ranks = np.split(stats.rankdata(-means.round(12), axis=1), [1])
    places = np.floor(ranks).astype(int) - 1
    frequency = np.stack([np.bincount(column, minlength=methods) for column in places.T]) / len(ranks)
    return Ranks(full[0], frequency, _mean_tau(ranks, full[0]))


def _mean_tau(ranks: np.ndarray, full: np.ndarray) -> float:
    """Mean over rankings (B, M) of Kendall's tau-a to ``full``: agreeing less disagreeing pairs, of all pairs."""
    first, second = np.triu_indices(len(full), 1)
    if not len(first):
        return 1.0
    reference = np.sign(full[first] - full[second])
    some = ranks[:1000]  # enough for a mean
    return float((np.sign(some[:, first] - some[:, second]) @ reference).mean() / len(first))


def gap_closed(score: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """(x - lower) / (upper - lower): how much of the way from supervised with few labels to supervised with all; NaN without a gap."""
    gap = np.asarray(upper, dtype=float) - lower
    return np.where(gap > 0, (score - lower) / np.where(gap > 0, gap, 1.0), np.nan)


def interquartile_mean(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the middle half over tasks and runs, with a bootstrap interval over the runs of each task: (mean, low, high).

    Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.

    Args:
        values: (T, R) tasks x runs; NaN where a run is not done.

    Returns:
        NaN for the mean where nothing is defined, and for the interval where a task has one run, which says nothing of others.
    """
    tasks = [row for row in map(_defined, values) if len(row)]
    if not tasks:
        return np.nan, np.nan, np.nan
    mean = float(_middle_half(np.concatenate(tasks)))
    if min(map(len, tasks)) == 1:
        return mean, np.nan, np.nan
    rng = np.random.default_rng(0)
    resampled = np.concatenate([rng.choice(row, (RESAMPLES, len(row))) for row in tasks], axis=1)
    low, high = np.quantile(_middle_half(resampled), [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)


def _middle_half(values: np.ndarray) -> np.ndarray:
    """Means over the last axis without a quarter at each end."""
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
