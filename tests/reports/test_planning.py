"""What it takes, and the variance budget: against statsmodels, by hand and on planted components."""

from dataclasses import replace

import numpy as np
import pytest

from reports.statistics.planning import Difference, difference_of, variance_shares
from reports.statistics.random_effects import MeanSquare, combination, pair, run_spread, weighted


def test_power_is_that_of_a_t_test_over_runs_where_cases_do_not_matter():
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    known = Difference(2.0, of_run=4.0, of_case=0.0, rest=0.0, runs=3, cases=10, run_df=2)
    for runs in (3, 5, 12):
        found = known.power(runs, 10)
        assert found == pytest.approx(power.power(effect_size=1.0, nobs=runs, alpha=0.05), abs=0.002)
    more_runs, more_cases = known.needs()
    assert more_runs is not None and 3 + more_runs == int(np.ceil(power.solve_power(effect_size=1.0, power=0.8, alpha=0.05)))
    assert more_cases is None, "no number of cases makes up for runs that differ"


def test_cases_help_where_cases_are_what_differs_and_nothing_is_needed_where_it_is_clear():
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    known = Difference(2.0, of_run=0.0, of_case=16.0, rest=0.0, runs=3, cases=10, run_df=34)
    more_runs, more_cases = known.needs()
    assert more_runs is None and more_cases is not None
    assert 10 + more_cases == int(np.ceil(power.solve_power(effect_size=0.5, power=0.8, alpha=0.05)))
    assert replace(known, shift=20.0).needs() == (0, 0)


def test_the_parts_of_a_difference_add_up_to_the_error_that_it_is_tested_with():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 3, (4, 3, 1)) + rng.normal(0, 4, (4, 1, 8)) + rng.normal(0, 1, (4, 3, 8))
    spread = run_spread(scores.mean(2))
    found = combination(scores, pair(4, 0, 1), spread)
    parts = difference_of(scores[0] - scores[1], weighted(scores, pair(4, 0, 1), spread).run)
    assert parts is not None and parts.of_run > 0 and parts.of_case > 0
    assert parts.of_run / 3 + parts.of_case / 8 + parts.rest / 24 == pytest.approx(found.error**2)
    assert difference_of(scores[0, :1], MeanSquare(1.0, 3)) is None


def test_shares_of_planted_components():
    rng = np.random.default_rng(1)
    size = (30, 30, 30)
    planted = {"method": (0,), "run": (1,), "case": (2,), "method x run": (0, 1), "method x case": (0, 2), "rest": (0, 1, 2)}
    variances = dict(zip(planted, (9.0, 4.0, 16.0, 4.0, 1.0, 9.0), strict=True))
    scores = np.zeros(size)
    for name, axes in planted.items():
        scores = scores + rng.normal(0, np.sqrt(variances[name]), [30 if axis in axes else 1 for axis in range(3)])
    found = variance_shares(scores)
    assert list(found) == list(planted) and sum(found.values()) == pytest.approx(1)
    for name, share in found.items():
        assert share == pytest.approx(variances[name] / 43, rel=0.4, abs=0.01), name
    assert variance_shares(np.ones((2, 2, 2)))["method"] == 0
