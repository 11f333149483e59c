"""Scores of cases and how sure their mean is. Everything is computed from the long table of metrics; NaN means not defined."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES = 10_000


def case_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """One score per case: the mean over classes, then over the volumes of the case. Undefined values are left out.

    Args:
        cases: the long table of records (columns cell, test_set, case, volume, class, network, selection, metric, value).

    Returns:
        Columns cell, test_set, network, selection, metric, case, value.
    """
    case = ["cell", "test_set", "network", "selection", "metric", "case"]
    volumes = cases.groupby([*case, "volume"], sort=False, observed=True)["value"].mean()
    return volumes.groupby(case, sort=False, observed=True).mean().reset_index()


def mean_and_interval(scores: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of scores of runs x cases with its crossed-bootstrap percentile interval: (mean, low, high).

    Runs and cases are both samples: another draw or seed, other patients. Each resample draws R runs and, independently, C
    cases with replacement; with v_r and w_c the times that run r and case c were drawn, its mean is
    sum(v_r w_c x_rc) / sum(v_r w_c) over the defined x_rc (Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 2007; McCullagh,
    Resampling and exchangeable arrays, Bernoulli 2000). What there is one of is not resampled: with one run the interval is
    over cases alone and says nothing about training again, and with two or three runs it is still too narrow for that. The
    generator is seeded: the same scores give the same interval.

    Args:
        scores: (R, C) runs x cases; NaN where not defined.
        level: coverage of the interval.

    Returns:
        NaN for the mean where nothing is defined, and for the interval where there is one run and one case.
    """
    defined = ~np.isnan(scores)
    if not defined.any():
        return np.nan, np.nan, np.nan
    mean = float(scores[defined].mean())
    if scores.size == 1:
        return mean, np.nan, np.nan
    runs, cases = _times_drawn(scores.shape[0], seed=0), _times_drawn(scores.shape[1], seed=1)
    totals = np.einsum("bc,bc->b", runs @ np.where(defined, scores, 0.0), cases)
    counts = np.full(RESAMPLES, scores.size) if defined.all() else np.einsum("bc,bc->b", runs @ defined.astype(float), cases)
    drawn = counts > 0  # a resample of undefined scores only has no mean
    low, high = np.quantile(totals[drawn] / counts[drawn], [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)


def expected_best(scores: np.ndarray) -> np.ndarray:
    """The best score to be expected of n independent trials, for n = 1..N, from the scores of N of them.

    E[max of n] = sum_i s_(i) ((i/N)^n - ((i-1)/N)^n) over the sorted scores (Dodge et al., Show Your Work, EMNLP 2019, eq. 4).

    Args:
        scores: (N,) scores of trials drawn independently, as random search draws them.
    """
    ranks = np.arange(len(scores) + 1) / len(scores)
    chances = np.diff(ranks[None] ** np.arange(1, len(scores) + 1)[:, None], axis=1)
    return chances @ np.sort(scores)


@functools.lru_cache(maxsize=32)
def _times_drawn(n: int, seed: int) -> np.ndarray:
    """(RESAMPLES, n): how often each of n things is drawn in n draws with replacement."""
    return np.random.default_rng((seed, n)).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)


@dataclass(frozen=True)
class Shift:
    """A paired difference: Hodges-Lehmann estimate with its interval, exact two-sided Wilcoxon p, and how many pairs."""

    estimate: float
    low: float
    high: float
    p: float
    n: int


def paired_shift(differences: np.ndarray, level: float = 0.95) -> Shift:
    """How far paired differences lie from 0: signed-rank test with the estimate and interval that belong to it.

    p is exact also with ties (midranks); zeros are dropped for it (Wilcoxon 1945). The estimate is the median of the Walsh averages
    (d_i + d_j)/2, i <= j, and the interval their order statistics at the exact quantiles of the signed-rank sum (Hollander & Wolfe,
    Nonparametric Statistical Methods, section 3.2-3.3). Given means over runs, it speaks of other cases with these very runs: what
    a run does to all its cases alike (seed, draw) counts as a difference. Of training again speaks ``better_probability``.

    Args:
        differences: (C,) one per case; NaN is dropped.

    Returns:
        p 1 where nothing differs; an interval of NaN where the pairs are too few for the level.
    """
    differences = _defined(differences)
    n = len(differences)
    if n == 0:
        return Shift(np.nan, np.nan, np.nan, 1.0, 0)
    first, second = np.triu_indices(n)
    walsh = np.sort((differences[first] + differences[second]) / 2)
    at_most = np.cumsum(_signed_rank_chances(tuple(range(1, n + 1))))
    place = int(np.searchsorted(at_most, (1 - level) / 2, side="right"))  # of the limits among the averages, from either end
    low, high = (walsh[place - 1], walsh[-place]) if place else (np.nan, np.nan)
    return Shift(float(np.median(walsh)), float(low), float(high), _signed_rank(differences)[0], n)


def _defined(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]


def _signed_rank(differences: np.ndarray) -> tuple[float, int]:
    """Two-sided p, and by how much the ranks above 0 outweigh those below: its sign is the direction that p speaks of."""
    moved = differences[differences != 0]
    doubled = np.rint(2 * stats.rankdata(np.abs(moved))).astype(int)  # midranks are halves
    ranks = doubled // max(1, np.gcd.reduce(doubled))
    above, below = int(ranks[moved > 0].sum()), int(ranks[moved < 0].sum())
    chances = _signed_rank_chances(tuple(np.sort(ranks).tolist()))
    return min(1.0, 2 * float(chances[: min(above, below) + 1].sum())), above - below


@functools.lru_cache(maxsize=8)
def _signed_rank_chances(ranks: tuple[int, ...]) -> np.ndarray:
    """Chance of every sum, 0 to all, of a random half of whole-number ranks: each counts with chance 1/2."""
    chances = np.zeros(sum(ranks) + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] = (chances[rank:] + chances[: len(chances) - rank]) / 2
        chances[:rank] /= 2
    return chances


def smallest_p(n: int) -> float:
    """The smallest two-sided p that the signed-rank test can give with n pairs: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (Scand. J. Stat. 1979), in the order given; NaN stays and does not count."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


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
    """Ranks of M methods, 1 best: of the means, their range when other cases are drawn, how often each takes each rank, stability.

    rank, low, high: (M,). frequency: (M, M), method by rank. tau: mean Kendall tau of resampled rankings to the full one.
    """

    rank: np.ndarray
    low: np.ndarray
    high: np.ndarray
    frequency: np.ndarray
    tau: float


def rank_bootstrap(scores: np.ndarray, level: float = 0.95) -> Ranks:
    """Mean-then-rank and its bootstrap over cases (Wiesenfarth et al., challengeR, Sci. Rep. 2021); tied means share their mean rank.

    Args:
        scores: (M, C) methods x cases, higher is better; NaN is left out of a mean, and a method without any is last.
    """
    defined = ~np.isnan(scores)
    drawn = np.vstack([np.ones(scores.shape[1]), _times_drawn(scores.shape[1], seed=1)])
    counts = drawn @ defined.T
    with np.errstate(invalid="ignore"):
        means = np.where(counts > 0, drawn @ np.where(defined, scores, 0.0).T / counts, -np.inf)
    full, ranks = np.split(stats.rankdata(-means.round(12), axis=1), [1])
    places = np.floor(ranks).astype(int) - 1
    frequency = np.stack([np.bincount(column, minlength=len(scores)) for column in places.T]) / len(ranks)
    low, high = np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2], axis=0, method="nearest")
    return Ranks(full[0], low, high, frequency, _mean_tau(ranks, full[0]))


def _mean_tau(ranks: np.ndarray, full: np.ndarray) -> float:
    """Mean over rankings (B, M) of Kendall's tau-a to ``full``: agreeing less disagreeing pairs, of all pairs."""
    first, second = np.triu_indices(len(full), 1)
    if not len(first):
        return 1.0
    reference = np.sign(full[first] - full[second])
    some = ranks[:1000]  # enough for a mean
    return float((np.sign(some[:, first] - some[:, second]) @ reference).mean() / len(first))


def ranks_by_test(scores: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Test-then-rank: ranks (M,) by how many others each is significantly better than, Holm over all pairs; ties share a rank."""
    pairs = list(itertools.combinations(range(len(scores)), 2))
    tests = [_signed_rank(_defined(scores[i] - scores[j])) for i, j in pairs]
    wins = np.zeros(len(scores))
    for (i, j), (_, lead), p in zip(pairs, tests, holm(np.array([p for p, _ in tests])), strict=True):
        if p < 1 - level:
            wins[i if lead > 0 else j] += 1
    return stats.rankdata(-wins)


def detectable_difference(differences: np.ndarray, comparisons: int = 1, level: float = 0.95, power: float = 0.8) -> float:
    """The mean paired difference that the signed-rank test finds with this power, given the spread of the differences.

    (z_a + z_b) s / sqrt(n 3/pi): normal approximation with the test's asymptotic relative efficiency; Bonferroni for ``comparisons``.

    Returns:
        Infinity where the pairs are too few for any p below the level; NaN where fewer than two are defined.
    """
    differences = _defined(differences)
    if len(differences) < 2:
        return np.nan
    if smallest_p(len(differences)) * comparisons > 1 - level:
        return np.inf
    quantiles = stats.norm.ppf(1 - (1 - level) / 2 / max(1, comparisons)) + stats.norm.ppf(power)
    return float(quantiles * differences.std(ddof=1) / np.sqrt(len(differences) * 3 / np.pi))


def power_of(n: int, effect: float, sd: float, level: float = 0.95) -> float:
    """Chance that the signed-rank test of n pairs finds a mean difference ``effect`` of spread ``sd``; as ``detectable_difference``."""
    if smallest_p(n) > 1 - level:
        return 0.0
    return float(stats.norm.cdf(abs(effect) / sd * np.sqrt(n * 3 / np.pi) - stats.norm.ppf(1 - (1 - level) / 2)))


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
        NaN for the mean where nothing is defined, and for the interval where no task has two runs.
    """
    tasks = [row for row in map(_defined, values) if len(row)]
    if not tasks:
        return np.nan, np.nan, np.nan
    mean = float(_middle_half(np.concatenate(tasks)))
    if max(map(len, tasks)) == 1:
        return mean, np.nan, np.nan
    rng = np.random.default_rng(0)
    resampled = np.concatenate([rng.choice(row, (RESAMPLES, len(row))) for row in tasks], axis=1)
    low, high = np.quantile(_middle_half(resampled), [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)


def _middle_half(values: np.ndarray) -> np.ndarray:
    """Means over the last axis without a quarter at each end."""
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
