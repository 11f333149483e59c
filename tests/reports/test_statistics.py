"""The order of means by hand, and the interval against simulated data with known coverage."""

import numpy as np
import pandas as pd
import pytest

from reports.statistics import case_scores, mean_and_interval

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
