"""Means and differences of methods when both runs and cases are samples: what would come out if somebody trained and tested again.

A score is method + case + run + method x case + method x run + rest, a run being a draw, or a seed where there is one draw; all but
the method are random. How run means move is mostly taken from all methods of a budget, for two or three runs of one method say little
of it, and the less so the more these differ; the cases' part is a method's or a difference's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from reports.statistics.heterogeneity import prior_df

ROUNDING = 1e-12
"""What is smaller than this is 0."""


@dataclass(frozen=True)
class MeanSquare:
    """A variance and the degrees of freedom that it is known with."""

    value: float
    df: float


@dataclass(frozen=True)
class Estimate:
    """A mean or difference with its standard error and degrees of freedom; of one run, it speaks of other cases alone."""

    value: float
    error: float
    df: float
    runs: int
    cases: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """NaN where the spread is unknown."""
        reach = float(special.stdtrit(self.df, (1 + level) / 2)) * self.error
        return self.value - reach, self.value + reach

    @property
    def testable(self) -> bool:
        """Whether more than one run stands behind it, so that a test can speak of training again."""
        return self.runs > 1 and not np.isnan(self.error)

    @property
    def p(self) -> float:
        """Two-sided, of no difference; NaN where it cannot be tested."""
        return 2 * self._beyond(abs(self.value))

    def equivalence_p(self, margin: float) -> float:
        """Of two one-sided tests: small where the difference lies within the margin (Schuirmann, J. Pharmacokinet. Biopharm. 1987)."""
        return self._beyond(margin - abs(self.value))

    def detectable(self, comparisons: int = 1, level: float = 0.95, power: float = 0.8) -> float:
        """The difference that the test finds with this power, Bonferroni for ``comparisons``; NaN where it cannot be tested."""
        if not self.testable:
            return np.nan
        return self.error * float(special.stdtrit(self.df, [1 - (1 - level) / 2 / comparisons, power]).sum())

    def _beyond(self, distance: float) -> float:
        if not self.testable:
            return np.nan
        if self.error < ROUNDING:
            return 0.5 if abs(distance) < ROUNDING else float(distance < 0)
        return float(special.stdtr(self.df, -distance / self.error))


@dataclass(frozen=True)
class RunSpread:
    """How the methods' run means move: the variance of a run's mean.

    of_mean: of a method's run means. of_method: of what is left when what all methods of a run share is taken off; a difference of two
    has twice that. prior_df: what these are worth, in degrees of freedom, beside a combination's own variance (``prior_df``). overlap: by
    what share the cases' part of a variance is larger than their spread tells, because folds share training data.
    """

    of_mean: MeanSquare
    of_method: MeanSquare
    prior_df: float = np.inf
    overlap: float = 0.0


def units_of(runs: Sequence[tuple[int, int]]) -> list[int]:
    """Which unit each run (draw, seed) belongs to: its draw, or, where there is one draw, its seed.

    Seeds are nested in draws: five of one draw say nothing of other labelled cases, so draws are what counts where there are several.
    """
    draws = [draw for draw, _ in runs]
    return draws if len(set(draws)) > 1 else [seed for _, seed in runs]


def by_unit(scores: np.ndarray, units: Sequence[int]) -> np.ndarray:
    """(..., runs, cases) to (..., units, cases): the mean of each unit's runs."""
    groups = [[i for i, other in enumerate(units) if other == unit] for unit in dict.fromkeys(units)]
    if len(groups) == len(units):
        return scores
    return np.stack([mean(scores[..., group, :], -2) for group in groups], axis=-2)


def overlap_of_folds(folds: float) -> float:
    """By what share a mean over K folds varies more than its cases' spread tells: K tests/training = K/(K-1); 0 where there are no folds.

    What the folds learn overlaps, so that their errors are no independent ones. Nadeau and Bengio, Machine Learning 52, 2003: the
    variance of a mean over K splits is (1/K + tests/training) times that of one, not 1/K; no estimator is unbiased (Bengio and
    Grandvalet, JMLR 5, 2004).
    """
    return folds / (folds - 1) if folds > 1 else 0.0


def run_spread(means: np.ndarray, overlap: float = 0.0) -> RunSpread:
    """Least squares of method + run on mean scores (M, R); NaN where a method has not done a run. overlap: see ``RunSpread``."""
    known = ~np.isnan(means)
    method, run = np.nonzero(known)
    design = np.hstack([np.eye(means.shape[0])[method], np.eye(means.shape[1])[run]])
    values = means[known]
    coefficients, _, rank, _ = np.linalg.lstsq(design, values)
    within = float(((values - mean(means, 1)[method]) ** 2).sum())
    left = (values - design @ coefficients) ** 2
    shared = known & (known.sum(0) > 1)  # nothing is left of a run that one method alone has done
    rest, alike = float(left.sum()), prior_df(np.bincount(method, left, len(means)), shared.sum(1) - 1)
    df_within, df_rest = len(values) - known.any(1).sum(), len(values) - rank
    df_shared = df_within - df_rest
    shared = max(0.0, within - rest) / df_shared if df_shared else 0.0
    of_method = MeanSquare(rest / df_rest if df_rest else np.nan, df_rest)
    if not df_within:
        return RunSpread(MeanSquare(np.nan, 0), of_method, alike, overlap)
    parts = [(shared * df_shared / df_within, df_shared), (rest / df_within, df_rest)]
    return RunSpread(sum_of(parts), of_method, alike, overlap)


def estimate(scores: np.ndarray, run: MeanSquare, overlap: float = 0.0) -> Estimate:
    """The mean of scores, or of differences, over runs (units) x cases, (R, C).

    Its variance is a + b less what both hold of the rest, at most the smaller of them: a = v/R of v, the variance of a run's mean,
    b = MS(case)/(RC), and MS(rest)/(RC). Its degrees of freedom are those of a and b in the mean weighted by them, harmonic: never
    more than Satterthwaite's (Biometrics 1946), with which two methods in three runs were told apart too often (docs/statistics.md).

    Args:
        run: v and its degrees of freedom; not used where there is one run.
        overlap: b is so much larger (a share of it); see ``RunSpread``.
    """
    missing = np.isnan(scores)
    if missing.any():
        value = float(np.nanmean(scores)) if not missing.all() else np.nan
        scores = scores[:, ~missing.any(0)]  # cases that every run has
    else:
        value = float(scores.mean()) if scores.size else np.nan
    runs, cases = scores.shape
    if runs == 1 and cases > 1:
        return Estimate(value, float(scores.std(ddof=1) * np.sqrt((1 + overlap) / cases)), cases - 1, 1, cases)
    if runs <= 1 or cases == 0 or np.isnan(run.value):
        return Estimate(value, np.nan, np.nan, runs, cases)
    if cases == 1:
        return Estimate(value, float(np.sqrt(run.value / runs)), run.df, runs, cases)
    of_case, rest = mean_squares(scores)
    a, b, both = run.value / runs, (1 + overlap) * of_case.value / (runs * cases), rest.value / (runs * cases)
    df = (a + b) / (a / run.df + b / of_case.df) if a + b else of_case.df
    return Estimate(value, float(np.sqrt(a + b - min(a, b, both))), float(df), runs, cases)


def mean_squares(scores: np.ndarray) -> tuple[MeanSquare, MeanSquare]:
    """Of cases and of the rest, two-way without replication: (R, C) scores."""
    runs, cases = scores.shape
    by_case = scores.mean(0)
    of_case = runs * float(by_case.var(ddof=1))
    rest = scores - by_case - scores.mean(1, keepdims=True) + scores.mean()
    df = (runs - 1) * (cases - 1)
    return MeanSquare(of_case, cases - 1), MeanSquare(float((rest**2).sum() / df), df)


def combination(scores: np.ndarray, weights: np.ndarray, spread: RunSpread) -> Estimate:
    """A weighted sum of methods: one of them, a difference, or a contrast of a factorial; over the runs that all of these have done.

    Args:
        scores: (M, R, C), methods x runs (units) x cases; NaN where a run is not done.
        weights: (M,).
        spread: of all methods of the budget.
    """
    part = weighted(scores, weights, spread)
    return estimate(part.scores, part.run, spread.overlap)


@dataclass(frozen=True)
class Part:
    """Scores (R, C) of a combination of methods at a budget, and the variance of a run's mean in them."""

    scores: np.ndarray
    run: MeanSquare

    @cached_property
    def mean(self) -> float:
        """Over runs and cases."""
        return float(np.nanmean(self.scores))

    @cached_property
    def unknown(self) -> np.ndarray:
        """(C,): the cases that some run lacks."""
        return np.isnan(self.scores).any(0)

    @cached_property
    def of_cases(self) -> np.ndarray:
        """(C,): means over runs."""
        return self.scores.mean(0)

    @cached_property
    def rest(self) -> float:
        """The mean square of the rest."""
        return mean_squares(self.scores)[1].value

    def at(self, known: np.ndarray) -> Part:
        """Of these cases alone."""
        return self if known.all() else Part(self.scores[:, known], self.run)


def weighted(scores: np.ndarray, weights: np.ndarray, spread: RunSpread) -> Part:
    """What ``combination`` is the mean of, of the runs that all have done."""
    chosen = np.flatnonzero(weights)
    done = ~np.isnan(scores[chosen]).all(2).any(0)
    total, squares = float(weights.sum()), float((weights**2).sum())
    shared = total if abs(total) > 1e-9 else 0.0
    parts = [(shared**2 * spread.of_mean.value, spread.of_mean.df)] if shared else []
    if abs(squares - shared**2) > 1e-9:
        parts.append(((squares - shared**2) * spread.of_method.value, spread.of_method.df))
    combined = np.tensordot(weights[chosen], scores[chosen][:, done], 1)
    return Part(combined, moderated(sum_of(parts), mean(combined, 1), spread.prior_df))


def moderated(pooled: MeanSquare, means: np.ndarray, prior: float) -> MeanSquare:
    """The variance of a run's mean, of the pooled one and of a combination's own run means (R,), weighted by ``prior`` and R - 1.

    This is Smyth's moderated variance. Its degrees of freedom are the geometric mean of his (prior + R - 1, as if the spreads differed as
    much as is estimated) and Satterthwaite's (as if they were equal), at most the pooled one's: so simulated worlds of equal and of uneven
    spreads both have the rates that docs/statistics.md gives.

    Args:
        prior: the degrees of freedom that ``pooled`` counts; infinite for it alone.
    """
    own = len(means) - 1
    if own < 1 or np.isinf(prior) or np.isnan(pooled.value):
        return pooled
    share = own / (prior + own)
    value = (1 - share) * pooled.value + share * float(means.var(ddof=1))
    if_equal = 1 / ((1 - share) ** 2 / pooled.df + share**2 / own)
    return MeanSquare(value, min(float(np.sqrt(if_equal * (prior + own))), pooled.df))


def sum_over_budgets(parts: Sequence[Part], overlap: float = 0.0) -> Estimate:
    """The sum of what stands at several budgets, whose runs are independent and whose cases are the same; as ``estimate`` of one.

    Args:
        parts: of each budget what ``weighted`` returns, with runs of its own.
        overlap: as ``estimate``'s.
    """
    known = ~np.any([part.unknown for part in parts], axis=0)
    runs, cases = min(len(part.scores) for part in parts), int(known.sum())
    value = float(sum(part.mean for part in parts))
    if runs < 2 or cases < 2 or any(np.isnan(part.run.value) for part in parts):
        return Estimate(value, np.nan, np.nan, runs, cases)
    run = sum_of([(part.run.value / len(part.scores), part.run.df) for part in parts])
    kept = [part.at(known) for part in parts]
    of_case = float(np.sum([part.of_cases for part in kept], axis=0).var(ddof=1)) / cases
    of_case *= 1 + overlap
    both = sum(part.rest / (len(part.scores) * cases) for part in kept)
    total = run.value + of_case
    df = total / (run.value / run.df + of_case / (cases - 1)) if total else cases - 1
    return Estimate(value, float(np.sqrt(total - min(run.value, of_case, both))), float(df), runs, cases)


def pair(size: int, first: int, second: int) -> np.ndarray:
    """The weights of first less second, of so many methods."""
    return of_one(size, first) - of_one(size, second)


def of_one(size: int, place: int) -> np.ndarray:
    """The weights of one of so many methods."""
    weights = np.zeros(size)
    weights[place] = 1.0
    return weights


def seed_spread(means: np.ndarray, units: Sequence[int]) -> MeanSquare:
    """What is left of run means (M, R) within the units that have several runs, the seeds of a draw, when what all methods of a run
    share is taken off; pooled over units. 0 with 0 degrees of freedom where there are no such.
    """
    groups = [[i for i, other in enumerate(units) if other == unit] for unit in dict.fromkeys(units)]
    found = [run_spread(means[:, group]).of_method for group in groups if len(group) > 1]
    df = sum(one.df for one in found)
    return MeanSquare(sum(one.value * one.df for one in found if one.df) / df if df else 0.0, df)


def sum_of(parts: list[tuple[float, float]]) -> MeanSquare:
    """A sum of independent variances (value, df), some taken off, with Satterthwaite's degrees of freedom."""
    total = sum(value for value, _ in parts)
    spread = sum(value**2 / df for value, df in parts if df)
    return MeanSquare(total, total**2 / spread if spread else float(sum(df for _, df in parts)))


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Means of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis)
    return np.where(counts > 0, np.where(defined, values, 0.0).sum(axis) / np.maximum(counts, 1), np.nan)
