"""What it costs to choose a method by the validation cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Choice:
    """chosen, best: places of the method that validation chooses and of the best on the test cases; regret: test score between them.

    one_run: the regret, on average, of who chooses by a single run. hits: the share of runs that choose the best.
    """

    chosen: int
    best: int
    regret: float
    one_run: float
    hits: float
    runs: int


def choice(validation: np.ndarray, test: np.ndarray) -> Choice | None:
    """Choosing by mean validation scores; of equal ones each counts in part.

    Args:
        validation, test: (M, R) mean scores of methods in runs; a run that some method lacks is left out.

    Returns:
        None where there are fewer than two methods, or no run of all.
    """
    known = ~np.isnan(validation + test).any(0)
    if len(test) < 2 or not known.any():
        return None
    validation, test = validation[:, known], test[:, known].mean(1)
    lost = [float(test.max() - test[_picked(scores)].mean()) for scores in validation.T]
    hits = [float(_picked(scores)[test.argmax()] / _picked(scores).sum()) for scores in validation.T]
    picked = _picked(validation.mean(1))
    regret = float(test.max() - test[picked].mean())
    return Choice(
        int(picked.argmax()), int(test.argmax()), regret, float(np.mean(lost)), float(np.mean(hits)), int(known.sum())
    )


def _picked(scores: np.ndarray) -> np.ndarray:
    return scores.round(12) == scores.round(12).max()
