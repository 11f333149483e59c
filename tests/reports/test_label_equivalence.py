"""Labels that a method is worth: read off curves by hand, and covered as often as the interval says in simulated worlds."""

import math

import numpy as np
import pytest

from reports.statistics.label_equivalence import Labels, equivalent_labels
from reports.statistics.random_effects import Estimate, Part, combination, estimate, run_spread, sum_over_budgets, weighted
from reports.tables.label_equivalence import in_words, label_equivalence
from tests.reports.simulated_standings import BUDGETS, CURVE, budget, worth

SURE = 1e-9


def exact(score, curve=CURVE, error=SURE):
    def difference(segment, share):
        return Estimate(score - (1 - share) * curve[segment] - share * curve[segment + 1], error, 20.0, 3, 20)

    return equivalent_labels(BUDGETS, curve, score, difference)


def test_a_straight_curve_over_the_logarithm_is_inverted():
    found = exact(0.5)
    assert (found.value, found.low, found.high) == pytest.approx((math.sqrt(3),) * 3, rel=1e-3)
    assert exact(0.7).value == pytest.approx(math.sqrt(27)) and exact(0.6).value == pytest.approx(3)
    assert exact(0.9) == Labels(math.inf, 9.0, math.inf) and exact(0.3) == Labels(0.0, 0.0, 1.0)
    dip = exact(0.55, np.array([0.4, 0.7, 0.5]))  # monotone fit .4, .6, .6
    assert dip.value == pytest.approx(3 ** (0.15 / 0.2))


def test_the_interval_is_where_the_score_cannot_be_told_from_the_curve():
    error = 0.05
    reach = 2.085963447 * error  # t with 20 degrees of freedom
    found = exact(0.6, error=error)
    assert (found.low, found.high) == pytest.approx((3 ** (1 - reach / 0.2), 3 ** (1 + reach / 0.2)), rel=1e-3)
    assert exact(0.45, error=error).low == 0 and exact(0.75, error=error).high == math.inf
    unknown = equivalent_labels(BUDGETS, CURVE, 0.6, lambda k, w: Estimate(0.0, np.nan, np.nan, 1, 20))
    assert unknown.value == pytest.approx(3) and np.isnan([unknown.low, unknown.high]).all()


def test_a_sum_over_budgets_is_estimate_where_there_is_one_and_by_hand_where_there_are_two():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 3, (2, 4, 3, 1)) + rng.normal(0, 4, (2, 4, 1, 8)) + rng.normal(0, 1, (2, 4, 3, 8))
    spreads = [run_spread(scores.mean(2)) for scores in (first, second)]
    weights = np.array([1.0, -0.5, 0, 0])
    one = sum_over_budgets([weighted(first, weights, spreads[0])])
    same = combination(first, weights, spreads[0])
    assert (one.value, one.error, one.df) == pytest.approx((same.value, same.error, same.df))
    parts = [weighted(first, np.eye(4)[0], spreads[0]), weighted(second, -np.eye(4)[1], spreads[1])]
    both = sum_over_budgets(parts)
    apart = first[0].mean(0) - second[1].mean(0)
    of_runs = sum(part.run.value for part in parts) / 3
    rest = sum(((s - s.mean(0) - s.mean(1, keepdims=True) + s.mean()) ** 2).sum() / 14 for s in (first[0], second[1])) / 24
    assert both.value == pytest.approx(apart.mean())
    assert both.error**2 == pytest.approx(of_runs + apart.var(ddof=1) / 8 - min(of_runs, apart.var(ddof=1) / 8, rest))
    assert np.isnan(sum_over_budgets([Part(first[0, :1], spreads[0].of_mean)]).error)
    assert estimate(parts[0].scores, parts[0].run).error > 0


@pytest.mark.parametrize("truth", [1.6, 5.0])
def test_the_interval_covers_as_often_as_it_says(truth):
    inside, bounded = worth(truth, 3, 60)
    assert 0.95 - 2.5 * math.sqrt(0.05 * 0.95 / 60) <= inside and bounded > 0.5


def test_it_is_said_in_few_words_and_nothing_is_said_of_one_budget_or_one_run():
    rng = np.random.default_rng(0)
    fields = [
        budget(rng, labels, [100 * level, 60, 60, 97], hard=np.zeros(20)) for labels, level in ((1, 0.4), (3, 0.6), (9, 0.8))
    ]
    table = label_equivalence(fields, "supervised")
    best = next(row for row in table.itertuples() if (row.labels, row.variant) == (1, "cctr"))
    assert in_words(best) == "more than 9"
    assert in_words(best._replace(equivalent=5.04, low=3.3, high=math.inf)) == "5 [3.3, more than 9]"
    assert in_words(best._replace(equivalent=0.0, low=0.0, high=2.5)) == "fewer than 1 [fewer than 1, 2.5]"
    assert label_equivalence(fields[:1], "supervised").empty and label_equivalence(fields, "nobody").empty
    single = [budget(rng, labels, [40 + 10 * labels, 60, 60, 62], runs=1, hard=np.zeros(20)) for labels in (1, 3)]
    row = next(row for row in label_equivalence(single, "supervised").itertuples() if row.variant == "cctr")
    assert np.isnan([row.low, row.high]).all() and "[" not in in_words(row)
