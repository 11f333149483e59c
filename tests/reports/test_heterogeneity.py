"""Methods that do not move alike from run to run: what a pooled spread counts beside a method's own."""

import numpy as np
import pytest

from reports.statistics.heterogeneity import LEAST, prior_df
from reports.statistics.random_effects import MeanSquare, moderated, pair, run_spread, weighted


def squares(prior: float, methods: int, df: int, seed: int = 0) -> np.ndarray:
    """Sums of squares whose variances differ as scaled inverse chi squares with ``prior`` degrees of freedom do; infinite: not at all."""
    rng = np.random.default_rng(seed)
    variance = np.full(methods, 4.0) if np.isinf(prior) else 4 * prior / rng.chisquare(prior, methods)
    return variance * rng.chisquare(df, methods)


@pytest.mark.parametrize("prior", [1.0, 4.0, 12.0])
@pytest.mark.parametrize("df", [2, 4])
def test_how_much_spreads_differ_is_found_in_many_methods(prior: float, df: int) -> None:
    assert prior_df(squares(prior, 20_000, df), np.full(20_000, df)) == pytest.approx(prior, rel=0.2)


def test_few_methods_are_no_evidence_that_spreads_are_equal_and_two_tell_nothing() -> None:
    found = [prior_df(squares(np.inf, 10, 2, seed), np.full(10, 2)) for seed in range(200)]
    assert max(found) == 8 and np.median(found) == 8 and min(found) > 0.5
    assert np.isinf(prior_df(np.array([3.0, 5.0]), np.array([2, 2])))
    assert np.isinf(prior_df(np.array([3.0, 5.0, 0.0, 1.0]), np.array([2, 2, 2, 0])))  # no spread, and one run
    assert np.isinf(prior_df(np.array([1e-30, 1.0, 2.0]), np.array([2, 2, 2])))  # rounding is no spread
    assert LEAST < prior_df(np.array([2e-20, 1.0, 1.0]), np.array([2, 2, 2])) < 0.2


def test_a_moderated_variance_by_hand_and_where_there_is_nothing_to_moderate() -> None:
    means, pooled = np.array([1.0, 2.0, 6.0]), MeanSquare(4.0, 18)
    found = moderated(pooled, means, 6.0)  # its own: 7 with 2 degrees of freedom, a quarter of the weight
    assert found.value == pytest.approx(0.75 * 4 + 0.25 * 7)
    assert found.df == pytest.approx(np.sqrt(8 / (0.75**2 / 18 + 0.25**2 / 2)))
    assert moderated(MeanSquare(4.0, 3), means, 6.0).df == 3
    assert moderated(pooled, means, np.inf) == pooled and moderated(pooled, means[:1], 6.0) == pooled


def test_a_method_that_moves_more_has_a_difference_that_is_less_sure() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, (12, 5, 1)) * np.where(np.arange(12) < 2, 8, 1)[:, None, None] + rng.normal(0, 0.1, (12, 5, 10))
    spread = run_spread(scores.mean(2))
    wild, calm = (weighted(scores, pair(12, *places), spread).run for places in ((0, 1), (2, 3)))
    assert wild.value > 2 * spread.of_method.value > 2 * calm.value


def test_runs_that_one_method_alone_has_done_say_nothing_of_how_alike_methods_move() -> None:
    rng = np.random.default_rng(4)
    means = rng.normal(0.6, 0.1, (6, 5))
    means[1:, 3:] = np.nan
    assert run_spread(means).prior_df == pytest.approx(run_spread(means[:, :3]).prior_df)
    alone = np.full((1, 5), np.nan)
    alone[0, 3:] = [0.5, 0.6]
    apart = np.vstack([means[:, :3], alone[:, :3]])
    apart = np.hstack([apart, np.vstack([np.full((6, 2), np.nan), alone[:, 3:]])])
    assert run_spread(apart).prior_df == pytest.approx(run_spread(means[:, :3]).prior_df)
