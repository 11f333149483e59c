"""Scores of cases and how sure their mean is. Everything is computed from the long table of metrics; NaN means not defined."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

RESAMPLES = 10_000


def case_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """One score per case: the mean over classes, then over the volumes of the case. Undefined values are left out.

    Args:
        cases: the long table of records (columns cell, test_set, case, volume, class, network, selection, metric, value).

    Returns:
        Columns cell, test_set, network, selection, metric, case, value.
    """
    case = ["cell", "test_set", "network", "selection", "metric", "case"]
    volumes = cases.groupby([*case, "volume"], sort=False)["value"].mean()
    return volumes.groupby(case, sort=False).mean().reset_index()


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
    totals = ((runs @ np.where(defined, scores, 0.0)) * cases).sum(1)
    counts = ((runs @ defined.astype(float)) * cases).sum(1)
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
