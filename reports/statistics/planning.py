"""Where the variance of scores comes from, and how many more runs or cases would tell two methods apart."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from reports.statistics.random_effects import MeanSquare, mean_squares, sum_of

MOST_RUNS, MOST_CASES = 100, 1000
"""Beyond these, more of them is no answer."""


@dataclass(frozen=True)
class Difference:
    """What is known of a difference of two methods after some runs and cases: its size and the variances it is made of.

    of_run, of_case: what a run and a case add to it, beyond the rest. run_df: degrees of freedom of of_run.
    """

    shift: float
    of_run: float
    of_case: float
    rest: float
    runs: int
    cases: int
    run_df: float

    def power(self, runs: np.ndarray | int, cases: np.ndarray | int, level: float = 0.95) -> np.ndarray:
        """The chance that so many runs and cases tell the two apart, if the difference is what it seems; as ``estimate`` tests it."""
        a, b, both = (
            (self.of_run + self.rest / cases) / runs,
            (self.of_case + self.rest / runs) / cases,
            self.rest / (runs * cases),
        )
        run_df = self.run_df * (runs - 1) / (self.runs - 1)
        df = (a + b) / (a / run_df + b / (cases - 1))
        return np.asarray(stats.nct.sf(stats.t.ppf((1 + level) / 2, df), df, abs(self.shift) / np.sqrt(a + b - both)))

    def needs(self, power: float = 0.8) -> tuple[int | None, int | None]:
        """How many more runs, or else how many more cases, give this power; None where even ``MOST_RUNS`` or ``MOST_CASES`` do not."""
        if not self.shift:
            return None, None
        runs, cases = np.arange(self.runs, MOST_RUNS + 1), np.arange(self.cases, MOST_CASES + 1)
        enough = [np.flatnonzero(self.power(*given) >= power) for given in ((runs, self.cases), (self.runs, cases))]
        more_runs, more_cases = (int(found[0]) if len(found) else None for found in enough)
        return more_runs, more_cases


def difference_of(scores: np.ndarray, run: MeanSquare) -> Difference | None:
    """From differences over runs (units) x cases, (R, C), and the variance of a run's mean; None where they are too few to tell.

    Args:
        run: as in ``estimate``.
    """
    scores = scores[:, ~np.isnan(scores).any(0)]
    runs, cases = scores.shape
    if runs < 2 or cases < 2 or np.isnan(run.value):
        return None
    of_case, rest = mean_squares(scores)
    of_run = max(0.0, run.value - rest.value / cases)
    return Difference(
        float(scores.mean()), of_run, max(0.0, of_case.value - rest.value) / runs, rest.value, runs, cases, run.df
    )


def flip_probability(difference: float, run: MeanSquare, runs: int, seed: MeanSquare | None = None) -> float:
    """The chance that one more run of two methods, on the same cases, puts them the other way round.

    The difference in a new run lies about the mean of R runs with the variance v (1 + 1/R) + s, normally; of the standard deviation
    the unbiased estimate is taken (c4, Cureton, Am. Stat. 1968), so that over differences of all sizes as many flip as it says.

    Args:
        run: v, the variance of a run's mean difference. runs: R.
        seed: s, by how much more a single run varies than a unit that is the mean of several seeds; None where it is one.

    Returns:
        NaN where v is unknown.
    """
    if runs < 2 or np.isnan(run.value):
        return np.nan
    more = [(seed.value, seed.df)] if seed else []
    spread = sum_of([(run.value * (1 + 1 / runs), run.df), *more])
    if spread.value <= 0:
        return 0.0 if difference else 0.5
    half = spread.df / 2
    unbiased = np.exp(special.gammaln(half + 0.5) - special.gammaln(half)) / np.sqrt(half)
    return float(special.ndtr(-abs(difference) / np.sqrt(spread.value) * unbiased))


def variance_shares(scores: np.ndarray) -> dict[str, float]:
    """Shares of the variance of a score: method, run, case, what methods make of runs and of cases, and the rest; sum 1.

    Components of the three-way random-effects analysis of variance, those below 0 taken as 0. Seeds in draws: what a run adds is
    split into draw and seed, that of seeds being the mean over draws of an analysis within each.

    Args:
        scores: (M, R, C), methods x runs (units) x cases, two of each at least, all defined; or (M, D, S, C), S seeds in D draws.
    """
    if scores.ndim == 3:
        parts = _components(scores)
    else:
        seeds = scores.shape[2]
        within = [_components(scores[:, draw]) for draw in range(scores.shape[1])]
        of_seed = {name: float(np.mean([part[name] for part in within])) for name in ("run", "method x run", "rest")}
        parts = {}
        for name, value in _components(scores.mean(2)).items():
            left = value - of_seed[name] / seeds if name in of_seed else value
            if name == "rest":
                parts[name] = of_seed[name] + max(0.0, left)
            else:
                parts[name.replace("run", "draw")] = left
                parts |= {name.replace("run", "seed"): of_seed[name]} if name in of_seed else {}
    parts = {name: max(0.0, part) for name, part in parts.items()}
    total = sum(parts.values())
    return {name: part / total if total else 0.0 for name, part in parts.items()}


def _components(scores: np.ndarray) -> dict[str, float]:
    """Variance components of (M, R, C), which may be below 0; what cases make of runs is part of the rest."""
    names = ("method", "run", "case")
    effects: dict[tuple[int, ...], np.ndarray] = {(): scores.mean(keepdims=True)}
    squares: dict[tuple[int, ...], float] = {}
    for order in (1, 2, 3):
        for axes in itertools.combinations(range(3), order):
            others = tuple(axis for axis in range(3) if axis not in axes)
            effect = scores.mean(others, keepdims=True) if others else scores
            for smaller, part in effects.items():
                if set(smaller) < set(axes):
                    effect = effect - part
            effects[axes] = effect
            df = float(np.prod([scores.shape[axis] - 1 for axis in axes]))
            squares[axes] = float((effect**2).sum()) * scores.size / effect.size / df
    rest = squares[0, 1, 2]
    shares = {}
    for axis, name in enumerate(names):
        with_it = [squares[pair] for pair in ((0, 1), (0, 2), (1, 2)) if axis in pair]
        count = scores.size / scores.shape[axis]
        shares[name] = (squares[axis,] - sum(with_it) + rest) / count
    shares["method x run"] = (squares[0, 1] - rest) / scores.shape[2]
    shares["method x case"] = (squares[0, 2] - rest) / scores.shape[1]
    shares["rest"] = rest + max(0.0, (squares[1, 2] - rest) / scores.shape[0])
    return shares
