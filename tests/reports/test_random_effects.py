"""Random effects against established packages and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.statistics.random_effects import (
    Estimate,
    MeanSquare,
    by_unit,
    combination,
    estimate,
    mean_squares,
    pair,
    run_spread,
    units_of,
)

NAN = np.nan


def made_up(methods=4, runs=3, cases=8, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 2, (1, runs, 1)) + rng.normal(0, 5, cases)
    return 70 + shared + rng.normal(0, 2, (methods, runs, 1)) + rng.normal(0, 3, (methods, runs, cases))


def anova(values, formula):
    """Sums of squares and degrees of freedom by statsmodels; values: (methods, runs)."""
    api = pytest.importorskip("statsmodels.formula.api")
    lm = pytest.importorskip("statsmodels.stats.anova")
    first, second = np.indices(values.shape)
    table = pd.DataFrame({"y": values.ravel(), "a": first.ravel(), "b": second.ravel()}).dropna()
    return lm.anova_lm(api.ols(formula, table).fit())


@pytest.mark.parametrize("missing", [[], [(1, 2), (3, 0)]])
def test_the_spread_of_runs_is_that_of_statsmodels_also_where_runs_are_missing(missing):
    means = made_up().mean(2)
    for place in missing:
        means[place] = NAN
    found, table = run_spread(means), anova(means, "y ~ C(a) + C(b)")
    assert (found.of_method.value, found.of_method.df) == pytest.approx(
        (table.loc["Residual", "mean_sq"], table.loc["Residual", "df"])
    )
    within = anova(means, "y ~ C(a)").loc["Residual"]
    assert found.of_mean.value == pytest.approx(within["mean_sq"])
    parts = [table.loc[name, "sum_sq"] / within["df"] for name in ("C(b)", "Residual")]
    by_hand = sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, table.loc[["C(b)", "Residual"], "df"], strict=True))
    assert found.of_mean.df == pytest.approx(by_hand)


def test_mean_squares_of_cases_and_rest_are_those_of_statsmodels():
    scores = made_up()[0]
    table = anova(scores, "y ~ C(a) + C(b)")
    for found, name in zip(mean_squares(scores), ("C(b)", "Residual"), strict=True):
        assert (found.value, found.df) == pytest.approx((table.loc[name, "mean_sq"], table.loc[name, "df"]))


def test_a_difference_is_a_t_test_over_runs_where_cases_do_not_matter_and_over_cases_where_runs_do_not():
    rng = np.random.default_rng(1)
    run_means = rng.normal(0, 1, (2, 5))
    alike = np.repeat(run_means[:, :, None], 6, axis=2)
    found = combination(alike, pair(2, 0, 1), run_spread(run_means))
    test = stats.ttest_rel(*run_means)
    assert found.p == pytest.approx(test.pvalue) and found.interval() == pytest.approx(tuple(test.confidence_interval()))
    case_means = rng.normal(0, 1, (2, 9))
    alike = np.repeat(case_means[:, None], 3, axis=1)
    found = combination(alike, pair(2, 0, 1), run_spread(alike.mean(2)))
    test = stats.ttest_rel(*case_means)
    assert found.p == pytest.approx(test.pvalue) and found.interval() == pytest.approx(tuple(test.confidence_interval()))


def test_variance_of_a_mean_is_that_of_the_components():
    """(MS(run) + MS(case) - MS(rest)) / RC for one method, by hand."""
    scores = made_up(1)[0]
    of_case, rest = mean_squares(scores)
    of_run = scores.shape[1] * scores.mean(1).var(ddof=1)
    found = combination(scores[None], np.ones(1), run_spread(scores.mean(1)[None]))
    assert found.error**2 == pytest.approx((of_run + of_case.value - rest.value) / scores.size)
    share = of_run / (of_run + of_case.value)
    assert found.df == pytest.approx(1 / (share / 2 + (1 - share) / 7)) and found.value == pytest.approx(scores.mean())


def test_one_run_speaks_of_cases_alone_and_is_not_tested():
    scores = made_up(1, 1)
    found = combination(scores, np.ones(1), run_spread(scores.mean(2)))
    reach = stats.t.ppf(0.975, 7) * stats.sem(scores[0, 0])
    assert found.interval() == pytest.approx((scores.mean() - reach, scores.mean() + reach))
    assert not found.testable and np.isnan([found.p, found.equivalence_p(1.0), found.detectable()]).all()
    single = estimate(np.array([[0.7]]), MeanSquare(NAN, 0))
    assert single.value == 0.7 and np.isnan(single.interval()).all()
    assert np.isnan(estimate(np.array([[NAN, NAN]]), MeanSquare(NAN, 0)).value)


def test_equivalence_is_two_one_sided_tests():
    found = Estimate(0.3, 0.2, 9.0, 3, 10)
    low, high = found.interval(0.9)
    for margin in (0.5, 0.6, 0.7, 0.8):
        one_sided = [stats.t.sf((margin - 0.3) / 0.2, 9), stats.t.sf((margin + 0.3) / 0.2, 9)]
        assert found.equivalence_p(margin) == pytest.approx(max(one_sided))
        assert (found.equivalence_p(margin) < 0.05) == (-margin < low and high < margin)
    same, apart = Estimate(0.0, 0.0, 9.0, 3, 10), Estimate(0.1, 0.0, 9.0, 3, 10)
    assert same.p == 1 and same.equivalence_p(1) == 0 and apart.p == 0 and apart.equivalence_p(0.05) == 1


def test_a_difference_is_over_the_runs_that_both_have_done():
    scores = made_up()
    scores[1, 2] = NAN
    spread = run_spread(np.array([[row.mean() for row in method] for method in scores]))
    found = combination(scores, pair(4, 0, 1), spread)
    assert found.value == pytest.approx((scores[0, :2] - scores[1, :2]).mean()) and found.runs == 2


def test_cases_that_a_run_lacks_count_in_the_mean_alone():
    scores = made_up(1, 3, 6)
    scores[0, 1, 4] = NAN
    spread = run_spread(np.nanmean(scores, 2))
    found, rest = combination(scores, np.ones(1), spread), combination(scores[:, :, [0, 1, 2, 3, 5]], np.ones(1), spread)
    assert found.value == pytest.approx(np.nanmean(scores)) and (found.error, found.cases) == (rest.error, 5)


def test_draws_are_units_and_seeds_are_where_there_is_one_draw():
    runs = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert units_of(runs) == [0, 0, 1, 1, 1] and units_of(runs[:2]) == [0, 1]
    scores = np.arange(10.0).reshape(1, 5, 2)
    scores[0, 4] = NAN
    assert by_unit(scores, units_of(runs)).tolist() == [[[1, 2], [5, 6]]]
    assert by_unit(scores, range(5)) is scores


def test_the_detectable_difference_is_found_with_its_power():
    rng = np.random.default_rng(2)
    true = Estimate(0.0, 1.0, 12.0, 3, 10)
    effect = true.detectable(comparisons=3)
    error = np.sqrt(rng.chisquare(12, 4000) / 12)
    found = stats.t.sf(np.abs(rng.normal(effect, 1, 4000)) / error, 12) * 2 < 0.05 / 3
    assert found.mean() == pytest.approx(0.8, abs=0.03)
