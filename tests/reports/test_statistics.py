"""Means, intervals, ranks and power by hand, resampled one by one, and against simulated data with a known answer."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.statistics import (
    better_probability,
    case_scores,
    detectable_difference,
    expected_best,
    interquartile_mean,
    mean_and_interval,
    paired_shift,
    power_of,
    rank_bootstrap,
    ranks_by_test,
)

NAN = np.nan


def long_table(values):
    """Rows of one cell from {(case, volume, class): value}."""
    fixed = {"cell": "c", "test_set": "test", "network": "unet", "selection": "last", "metric": "hd95"}
    return pd.DataFrame([fixed | {"case": c, "volume": v, "class": k, "value": x} for (c, v, k), x in values.items()])


def test_mean_is_over_classes_then_volumes():
    volume_1 = {("a", "a1", "lv"): 2, ("a", "a1", "rv"): 4}
    volume_2 = {("a", "a2", "lv"): 9, ("a", "a2", "rv"): NAN}
    table = long_table(volume_1 | volume_2 | {("b", "b1", "lv"): 5})
    scores = case_scores(table).set_index("case")["value"]
    assert scores.to_dict() == {"a": (3 + 9) / 2, "b": 5}  # pooled it would be (2 + 4 + 9) / 3


def test_a_case_without_any_defined_value_is_undefined():
    assert case_scores(long_table({("a", "a1", "lv"): NAN}))["value"].isna().all()


def test_mean_leaves_out_what_is_not_defined():
    assert mean_and_interval(np.array([[1.0, NAN], [2.0, 6.0]]))[0] == 3.0
    assert np.isnan(mean_and_interval(np.array([[NAN, NAN]]))).all()


def test_one_score_has_no_interval():
    mean, low, high = mean_and_interval(np.array([[0.7]]))
    assert mean == 0.7 and np.isnan(low) and np.isnan(high)


def test_equal_scores_have_an_interval_of_no_width_and_the_mean_is_inside():
    assert mean_and_interval(np.full((3, 4), 0.25)) == pytest.approx((0.25, 0.25, 0.25))


def test_two_cases_of_one_run_by_hand():
    """Resamples of {0, 1}: means 0, .5, .5, 1 with probability 1/4 each, so the 2.5 % and 97.5 % points are 0 and 1."""
    assert mean_and_interval(np.array([[0.0, 1.0]])) == (0.5, 0.0, 1.0)


def slow_interval(scores, rng):
    """The crossed bootstrap one resample at a time, by picking rows and columns."""
    means = []
    for _ in range(4000):
        runs = rng.integers(0, scores.shape[0], scores.shape[0])
        cases = rng.integers(0, scores.shape[1], scores.shape[1])
        means.append(np.nanmean(scores[runs][:, cases]))
    return np.quantile(means, [0.025, 0.975])


def test_equals_resampling_rows_and_columns_one_by_one():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.7, 0.1, (4, 12)) + rng.normal(0, 0.1, (4, 1)) + rng.normal(0, 0.1, 12)
    scores[1, 3] = NAN
    assert mean_and_interval(scores)[1:] == pytest.approx(slow_interval(scores, rng), abs=0.006)


@pytest.mark.parametrize("runs", [1, 12])
def test_coverage_of_the_true_mean(runs):
    """The true mean is covered about 95 times in 100: over runs and cases, or over cases where there is one run."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(150):
        run_effect = rng.normal(0, 0.05, (runs, 1)) if runs > 1 else 0.0
        scores = 0.7 + run_effect + rng.normal(0, 0.1, 25) + rng.normal(0, 0.05, (runs, 25))
        _, low, high = mean_and_interval(scores)
        covered += low <= 0.7 <= high
    assert 0.87 <= covered / 150 <= 0.995


def test_the_same_scores_give_the_same_interval():
    scores = np.random.default_rng(2).random((3, 10))
    assert mean_and_interval(scores) == mean_and_interval(scores.copy())


def test_the_interval_of_a_shift_leaves_out_0_exactly_when_the_test_rejects():
    rng = np.random.default_rng(3)
    found = [paired_shift(rng.normal(0.5, 1, 12)) for _ in range(200)]
    rejected = [shift.p <= 0.05 for shift in found]
    assert 20 < sum(rejected) < 180
    assert rejected == [not shift.low <= 0 <= shift.high for shift in found]


def false_alarms(run_noise, rng, experiments=200, runs=5, cases=20):
    """How often paired means over runs of one method under two names differ at p < .05, and P(A > B)'s interval covers 1/2."""
    rejected, covered = [], []
    for _ in range(experiments):
        hard = rng.normal(0.7, 0.1, cases)
        a, b = hard + rng.normal(0, run_noise, (2, runs, 1)) + rng.normal(0, 0.05, (2, runs, cases))
        rejected.append(paired_shift(a.mean(0) - b.mean(0)).p < 0.05)
        _, low, high = better_probability(a.mean(1), b.mean(1))
        covered.append(low <= 0.5 <= high)
    return np.mean(rejected), np.mean(covered)


def test_a_paired_test_over_cases_holds_its_level_for_these_runs_and_not_for_other_runs():
    rng = np.random.default_rng(4)
    independent, shared = false_alarms(0.0, rng), false_alarms(0.05, rng)
    assert independent[0] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert shared[0] > 0.3  # the runs do differ, by luck
    assert min(independent[1], shared[1]) >= 15 / 16 - 2 * np.sqrt(15 / 16**2 / 200)  # all of 5 runs agree once in 16 times


def test_better_probability_has_the_interval_of_every_possible_resample():
    a, b = np.array([0.5, 0.7, 0.6, 0.4, NAN]), np.array([0.4, 0.7, 0.5, 0.5, 0.1])
    wins = [1, 0.5, 1, 0]
    every = [np.mean(drawn) for drawn in itertools.product(wins, repeat=4)]
    assert better_probability(a, b, level=0.9) == (0.625, *np.quantile(every, [0.05, 0.95], method="inverted_cdf"))
    assert np.isnan(better_probability(a[4:], b[4:])).all()


def test_ranks_equal_resampling_cases_one_by_one():
    rng = np.random.default_rng(5)
    scores = rng.normal(0.6, 0.1, (4, 15)) + np.array([[0.0], [0.03], [0.0], [-0.05]])
    scores[2, 4] = NAN
    found = rank_bootstrap(scores)
    drawn = [stats.rankdata(-np.nanmean(scores[:, rng.integers(0, 15, 15)], 1)) for _ in range(4000)]
    frequency = [[np.mean(ranks == place) for place in range(1, 5)] for ranks in np.transpose(drawn)]
    np.testing.assert_allclose(found.frequency, frequency, atol=0.03)
    np.testing.assert_array_equal([found.low, found.high], np.quantile(drawn, [0.025, 0.975], axis=0))
    np.testing.assert_array_equal(found.rank, stats.rankdata(-np.nanmean(scores, 1)))


def test_a_method_without_scores_is_ranked_last_and_tied_ones_share_a_rank():
    found = rank_bootstrap(np.array([[NAN, NAN], [0.5, 0.6], [0.5, 0.6], [0.7, 0.8]]))
    for ranks in (found.rank, found.low, found.high):
        assert ranks.tolist() == [4, 2.5, 2.5, 1]
    assert found.frequency.argmax(1).tolist() == [3, 1, 1, 0]


def test_ranks_by_test_are_those_of_established_packages():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(6)
    scores = rng.normal(0.7, 0.1, 25) + rng.normal(0, 0.05, (6, 25)) + 0.025 * np.arange(6)[:, None]
    pairs = list(itertools.permutations(range(6), 2))
    one_sided = [stats.wilcoxon(scores[i] - scores[j], method="exact", alternative="greater").pvalue for i, j in pairs]
    two_sided = {pair: min(1, 2 * p) for pair, p in zip(pairs, one_sided, strict=True) if p < 0.5}
    rejected = multitest.multipletests(list(two_sided.values()), alpha=0.05, method="holm")[0]
    wins = np.zeros(6)
    for (i, _), better in zip(two_sided, rejected, strict=True):
        wins[i] += better
    assert len(two_sided) == 15 and 0 < wins.sum() < 15
    assert ranks_by_test(scores).tolist() == stats.rankdata(-wins).tolist()


def test_better_on_few_cases_and_equal_on_most_is_better():
    few = np.r_[np.zeros(30), np.linspace(0.01, 0.1, 10)]
    assert paired_shift(few).estimate == 0 and paired_shift(few).p < 0.01
    assert ranks_by_test(np.stack([0.5 + few, np.full(40, 0.5)])).tolist() == [1, 2]


def test_expected_best_is_what_search_again_finds():
    rng = np.random.default_rng(7)
    trials = rng.normal(0.7, 0.05, 12)
    again = np.maximum.accumulate(rng.choice(trials, (20_000, 12)), axis=1)
    assert expected_best(trials) == pytest.approx(again.mean(0), abs=0.002)


def test_middle_half_by_hand_and_its_interval_by_resampling_runs_one_by_one():
    assert interquartile_mean(np.array([[0.0, 1.0, 2.0, 9.0]]))[0] == 1.5
    rng = np.random.default_rng(8)
    tasks = rng.normal([[0.2], [0.5], [0.6]], 0.1, (3, 6))
    means = [stats.trim_mean([rng.choice(runs, 6) for runs in tasks], 0.25, axis=None) for _ in range(4000)]
    assert interquartile_mean(tasks)[1:] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)
    mean, low, high = interquartile_mean(tasks[:, :1])
    assert mean == pytest.approx(tasks[:, 0].mean()) and np.isnan(low) and np.isnan(high)


@pytest.mark.parametrize(("n", "comparisons", "power"), [(15, 1, 0.5), (20, 1, 0.8), (40, 5, 0.8)])
def test_a_planted_difference_is_found_at_the_power_asked_for(n, comparisons, power):
    rng = np.random.default_rng(n)
    spread = rng.normal(0, 1, n)
    effect = detectable_difference(spread, comparisons, power=power)
    sd = spread.std(ddof=1)
    assert power_of(n, effect, sd, 1 - 0.05 / comparisons) == pytest.approx(power)
    assert power_of(n, -effect, sd, 1 - 0.05 / comparisons) == pytest.approx(power)
    found = [paired_shift(rng.normal(effect, sd, n)).p * comparisons < 0.05 for _ in range(400)]
    assert np.mean(found) == pytest.approx(power, abs=0.1)


def test_no_difference_is_large_enough_for_too_few_cases():
    spread = np.linspace(-1, 1, 8)
    assert detectable_difference(spread[:5]) == np.inf and power_of(5, 10.0, 1.0) == 0
    assert detectable_difference(spread) < np.inf == detectable_difference(spread, comparisons=14)
    assert np.isnan(detectable_difference(np.array([0.1, NAN])))
