"""Means, ranks and tuning curves by hand, resampled one by one, and against simulated data with a known answer."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.statistics.multiplicity import expected_best
from reports.statistics.resampling import better_probability, interquartile_mean, rank_bootstrap
from reports.tables.case_scores import case_scores

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


def test_better_probability_has_the_interval_of_every_possible_resample():
    a, b = np.array([0.5, 0.7, 0.6, 0.4, NAN]), np.array([0.4, 0.7, 0.5, 0.5, 0.1])
    wins = [1, 0.5, 1, 0]
    every = [np.mean(drawn) for drawn in itertools.product(wins, repeat=4)]
    assert better_probability(a, b, level=0.9) == (0.625, *np.quantile(every, [0.05, 0.95], method="inverted_cdf"))
    assert np.isnan(better_probability(a[4:], b[4:])).all()


def test_ranks_equal_resampling_runs_and_cases_one_by_one():
    rng = np.random.default_rng(5)
    scores = (
        rng.normal(0.6, 0.1, (4, 3, 15)) + rng.normal(0, 0.03, (4, 3, 1)) + np.array([0.0, 0.03, 0.0, -0.05])[:, None, None]
    )
    scores[2, 1, 4] = NAN
    found = rank_bootstrap(scores)
    drawn = []
    for _ in range(4000):
        runs, cases = rng.integers(0, 3, 3), rng.integers(0, 15, 15)
        drawn.append(stats.rankdata(-np.nanmean(scores[:, runs][:, :, cases], (1, 2))))
    frequency = [[np.mean(ranks == place) for place in range(1, 5)] for ranks in np.transpose(drawn)]
    np.testing.assert_allclose(found.frequency, frequency, atol=0.03)
    np.testing.assert_array_equal(found.rank, stats.rankdata(-np.nanmean(scores, (1, 2))))


def test_a_method_without_scores_is_ranked_last_and_tied_ones_share_a_rank():
    found = rank_bootstrap(np.array([[NAN, NAN], [0.5, 0.6], [0.5, 0.6], [0.7, 0.8]])[:, None])
    assert found.rank.tolist() == [4, 2.5, 2.5, 1] and found.frequency.argmax(1).tolist() == [3, 1, 1, 0]


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
