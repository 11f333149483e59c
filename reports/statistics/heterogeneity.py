"""How alike the methods are in how they move from run to run: what a spread that is pooled over them is worth to one of them."""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

FEWEST = 3
"""Methods with several runs; the residuals of two are each other's."""

ROUNDING = 1e-20
"""Of the largest sum of squares: what is less is none."""

LEAST = 1e-2
"""Degrees of freedom: fewer than any sums of squares within ROUNDING of each other come to."""


def prior_df(squares: np.ndarray, df: np.ndarray) -> float:
    """The degrees of freedom that the pooled variance counts beside a method's own: few where the methods' variances differ by more than
    so few runs make them, infinite where there are too few methods to tell.

    By the moments of the logarithms of variances, as in Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004, eq. 10; but for M methods never
    more than M - 2, for so few variances are no evidence that spreads are equal: where the baseline moves four times as much as
    half of the others, verdicts are else false too often (docs/statistics.md).

    Args:
        squares, df: (M,), of each method the sum of squares of what is left of its run means, with its degrees of freedom.
    """
    moves = (df > 0) & (squares > ROUNDING * squares.max(initial=0))
    methods = int(moves.sum())
    if methods < FEWEST:
        return np.inf
    half = df[moves] / 2
    logs = np.log(squares[moves] / df[moves]) - special.digamma(half) + np.log(half)
    differ = float(logs.var(ddof=1) - special.polygamma(1, half).mean())
    most = float(methods - 2)
    if differ <= special.polygamma(1, most / 2):
        return most
    return 2 * float(optimize.brentq(lambda x: special.polygamma(1, x) - differ, LEAST / 2, most / 2))
