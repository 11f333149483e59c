"""What many comparisons and many trials do to a p-value and to a best score."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (Scand. J. Stat. 1979), in the order given; NaN stays and does not count."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted


def expected_best(scores: np.ndarray) -> np.ndarray:
    """The best score to be expected of n independent trials, for n = 1..N, from the scores of N of them.

    E[max of n] = sum_i s_(i) ((i/N)^n - ((i-1)/N)^n) over the sorted scores (Dodge et al., Show Your Work, EMNLP 2019, eq. 4).

    Args:
        scores: (N,) scores of trials drawn independently, as random search draws them.
    """
    ranks = np.arange(len(scores) + 1) / len(scores)
    chances = np.diff(ranks[None] ** np.arange(1, len(scores) + 1)[:, None], axis=1)
    return chances @ np.sort(scores)
