"""Methods that lack runs: what they would have scored on average, had they done what others have done, and whom ranks are of."""

from __future__ import annotations

import numpy as np
from scipy import special

from reports.statistics.random_effects import mean

FARTHEST = 30.0
"""Log odds, or logarithms, beyond which scores are nothing, or all there is."""


def on_all_runs(means: np.ndarray, most: float = 1.0) -> np.ndarray:
    """(M,): means over all runs, where one that is missing counts as what method + run of the others make of it.

    Method + run is fitted where it cannot leave what scores can be: log odds of fractions, logarithms of distances, by quasi-likelihood
    (Papke and Wooldridge, J. Appl. Econometrics 1996). A run that is ten points better for most is worth little to a method
    at 1 %. A method keeps its own mean where nothing is missing, and where some methods share no run with the others, not even through a
    third.

    Args:
        means: (M, R), of methods in runs; NaN where a run is not done.
        most: the largest that a score can be: 1 of fractions, infinite of distances.
    """
    known = ~np.isnan(means)
    own, runs = mean(means, 1), known.any(0)
    if known[known.any(1)][:, runs].all():
        return own
    method, run = np.nonzero(known)
    design = np.hstack([np.eye(len(means))[method], np.eye(len(runs))[run]])
    if np.linalg.matrix_rank(design) < known.any(1).sum() + runs.sum() - 1:
        return own
    effects = _fitted(design, means[known], most)
    would = _score(effects[: len(means), None] + effects[len(means) :], most)
    filled = np.where(known, means, would)[:, runs].mean(1)
    return np.where(known[:, runs].all(1) | ~known.any(1), own, filled.round(12))


def most_together(done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which methods (M,) and runs (R,) to rank by: of those where each method has done each run the ones with the most degrees of
    freedom between methods and runs, (methods - 1)(runs - 1), and of equal ones with the most methods; all, if no two share a run.

    Ten methods in three runs say more of ranks than thirty in the one run that all have done.

    Args:
        done: (M, R), whether a method has done a run; the runs that a method has done, or all have, are what is chosen from.
    """
    known = [runs for runs in np.vstack([done.all(0), done]) if runs.any()]
    sizes = [(int(np.all(done[:, runs], axis=1).sum()), int(runs.sum())) for runs in known]
    best = max(range(len(known)), key=lambda i: ((sizes[i][0] - 1) * (sizes[i][1] - 1), sizes[i][0]))
    if sizes[best][0] < 2:
        return np.ones(len(done), bool), np.ones(done.shape[1], bool)
    return np.all(done[:, known[best]], axis=1), known[best]


def _fitted(design: np.ndarray, values: np.ndarray, most: float) -> np.ndarray:
    """Effects by iteratively reweighted least squares; the variance of a score is that of counts of its mean."""
    ends = _score(np.array([-FARTHEST, FARTHEST]), most)
    start = np.clip(values, *ends)
    link, effects = np.log(start) - np.log1p(-start / most), np.zeros(design.shape[1])
    for _ in range(100):
        fit = _score(link, most)
        weight = fit * (1 - fit / most)
        root = np.sqrt(weight)
        effects = np.linalg.lstsq(root[:, None] * design, root * (link + (values - fit) / weight))[0]
        before, link = link, np.clip(design @ effects, -FARTHEST, FARTHEST)
        if np.abs(link - before).max() < 1e-12:
            break
    return effects


def _score(link: np.ndarray, most: float) -> np.ndarray:
    """What log odds, or a logarithm, come to."""
    return special.expit(link) if np.isfinite(most) else np.exp(np.clip(link, -FARTHEST, FARTHEST))
