"""Paired tests, ranks and tuning curves against established packages, brute force and simulations with a known answer."""

import itertools

import numpy as np
import pytest
from scipy import stats

from reports.comparison import fields, gaps_closed
from reports.statistics import (
    better_probability,
    detectable_difference,
    expected_best,
    gap_closed,
    holm,
    interquartile_mean,
    paired_shift,
    power_of,
    rank_bootstrap,
    ranks_by_test,
    smallest_p,
)
from tests.reports.made_up_records import cell, make_records, scores

SIMULATIONS = 200


@pytest.mark.parametrize("n", [4, 6, 9, 15, 40])
def test_p_without_ties_is_scipy_s_exact_one(n: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.5):
        d = rng.normal(shift, 1, n)
        assert paired_shift(d).p == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)
        assert paired_shift(d).p == paired_shift(-d).p


def test_p_with_ties_and_zeros_is_that_of_all_sign_changes() -> None:
    d = np.array([0.3, -0.1, 0.1, 0.1, 0.4, 0.0, -0.3, 0.2, 0.2, np.nan])
    moved = d[(d != 0) & ~np.isnan(d)]
    ranks = stats.rankdata(abs(moved))
    observed = ranks[moved > 0].sum()
    sums = np.array([ranks[list(signs)].sum() for signs in itertools.product([False, True], repeat=len(moved))])
    tail = min((sums <= observed + 1e-9).mean(), (sums >= observed - 1e-9).mean())
    assert paired_shift(d).p == pytest.approx(min(1, 2 * tail)) and paired_shift(d).n == 9
    assert paired_shift(np.zeros(5)).p == 1 and paired_shift(np.zeros(5)).estimate == 0
    assert np.isnan(paired_shift(np.array([])).estimate)


def test_shift_and_interval_are_those_of_the_textbook() -> None:
    # Hollander & Wolfe, example 3.1 (depression scale, 9 patients): estimate -.46, 96.1 % interval (-.786, -.010)
    first = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    second = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = paired_shift(second - first, level=0.96)
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.46, -0.786, -0.010), abs=1e-3)
    assert found.p == pytest.approx(0.0390625)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [paired_shift(rng.laplace(0.3, 1, 12)) for _ in range(1000)]
    assert 0.935 <= np.mean([f.low <= 0.3 <= f.high for f in found]) <= 0.985
    few = paired_shift(rng.normal(0, 1, 5))
    assert np.isnan(few.low) and smallest_p(5) == pytest.approx(0.0625)
    assert smallest_p(9) == paired_shift(np.arange(1.0, 10)).p


def test_holm_is_statsmodels_holm() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for seed in range(5):
        p = np.random.default_rng(seed).uniform(0, 0.2, 12)
        np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])
    mixed = holm(np.array([0.01, np.nan, 0.04]))
    assert mixed[0] == 0.02 and np.isnan(mixed[1]) and mixed[2] == 0.04


def test_better_probability_counts_runs_and_says_how_sure() -> None:
    assert better_probability(np.array([0.6]), np.array([0.5]))[0] == 1 and np.isnan(better_probability([0.6], [0.5])[1])
    a, b = np.array([0.5, 0.7, 0.6, 0.4]), np.array([0.4, 0.7, 0.5, 0.5])
    found, low, high = better_probability(a, b)
    assert found == 0.625 and low < 0.625 < high


def test_ranks_of_clear_and_of_equal_methods() -> None:
    rng = np.random.default_rng(0)
    cases = rng.normal(0.6, 0.1, 20)
    clear = rank_bootstrap(np.stack([cases + 0.3, cases, cases - 0.2]))
    assert clear.rank.tolist() == [1, 2, 3] and clear.low.tolist() == clear.high.tolist() == [1, 2, 3]
    assert clear.tau == 1 and np.allclose(clear.frequency, np.eye(3))
    equal = rank_bootstrap(np.stack([cases, cases]))
    assert equal.rank.tolist() == [1.5, 1.5]
    noisy = rank_bootstrap(rng.normal(0.6, 0.1, (4, 20)))
    assert (noisy.low <= noisy.rank).all() and (noisy.rank <= noisy.high).all() and noisy.tau < 0.9
    np.testing.assert_allclose(noisy.frequency.sum(1), 1)
    assert ranks_by_test(np.stack([cases + 0.3, cases + 0.001, cases])).tolist() == [1, 2, 3]
    assert ranks_by_test(rng.normal(0.6, 0.1, (3, 8))).tolist() == [2, 2, 2]


def test_tau_is_scipy_s() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.2, (5, 9))
    draws = np.random.default_rng((1, 9)).multinomial(9, np.full(9, 1 / 9), size=10_000)[:1000]
    full = values.mean(1)
    taus = [stats.kendalltau(full, values @ drawn).statistic for drawn in draws]
    assert rank_bootstrap(values).tau == pytest.approx(np.mean(taus), abs=1e-6)


def test_expected_best_is_that_of_every_possible_draw() -> None:
    values = np.array([0.2, 0.5, 0.5, 0.9])
    for n in (1, 2, 3, 4):
        every = [max(drawn) for drawn in itertools.product(values, repeat=n)]
        assert expected_best(values)[n - 1] == pytest.approx(np.mean(every))


def test_gap_closed_and_its_middle_half() -> None:
    closed = gap_closed(np.array([0.6, 0.9, 0.5]), np.array([0.5, 0.5, 0.5]), np.array([0.9, 0.9, 0.5]))
    assert closed[:2] == pytest.approx([0.25, 1.0]) and np.isnan(closed[2])
    mean, low, high = interquartile_mean(np.array([[0.0, 0.4, 0.5, 9.0], [0.4, 0.5, np.nan, np.nan]]))
    assert mean == pytest.approx(stats.trim_mean([0.0, 0.4, 0.5, 9.0, 0.4, 0.5], 0.25)) and low <= mean <= high


def test_gaps_closed_over_tasks_by_hand() -> None:
    cells, rows = [], []
    levels = {("supervised", 1): 0.4, ("supervised", 3): 0.6, ("supervised", 28): 0.8}
    levels |= {("cctr", 1): 0.6, ("cctr", 3): 0.75, ("cps", 1): 0.5}
    for (variant, labels), level in levels.items():
        for run, extra in enumerate((-0.02, 0.02)):
            cells.append(cell(variant, labels, run))
            rows += scores(cells[-1], {f"c{i}": level + extra * (variant == "cctr") for i in range(4)})
    found = list(fields(make_records(cells, rows)))
    section = ("phantom", "quick", "run", "test")
    table = gaps_closed(found, {section: 28}, "supervised")
    assert table["variant"].tolist() == ["cctr"], "cps has not run with 3 labels"
    (row,) = table.itertuples()
    closed = [0.45, 0.55, 0.65, 0.85]  # (.58 - .4) / .4, (.62 - .4) / .4, (.73 - .6) / .2, (.77 - .6) / .2
    assert (row.tasks, row.runs) == (2, 4) and row.gap == pytest.approx(np.mean(closed[1:3]))
    assert closed[0] <= row.low <= row.gap <= row.high <= closed[-1]
    assert gaps_closed(found, {section: 30}, "supervised").empty and gaps_closed(found, {section: 28}, "mean_teacher").empty


def simulated(effect: float, seed: int, cases: int = 20, runs: int = 5) -> tuple[float, tuple[float, float, float]]:
    """One comparison through records: two names, shared difficulty of cases, noise of every case in every run."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.7, 0.1, cases)
    cells = [cell(name, 1, run) for name in ("supervised", "other") for run in range(runs)]
    rows = []
    for one in cells:
        values = hard + effect * (one["variant"] == "other") + rng.normal(0, 0.05, cases)
        rows += scores(one, {f"c{i:02}": float(v) for i, v in enumerate(values)}, volumes=1, classes=("lv",))
    (field,) = fields(make_records(cells, [row for row in rows if row["metric"] == "dsc"]))
    row = field.against("supervised").iloc[0]
    return row["p"], (row["better"], row["better_low"], row["better_high"])


def test_one_method_under_two_names_is_a_tie_at_the_stated_rate() -> None:
    found = [simulated(0.0, seed) for seed in range(SIMULATIONS)]
    false = np.mean([p < 0.05 for p, _ in found])
    assert false <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / SIMULATIONS)
    assert np.mean([low <= 0.5 <= high for _, (_, low, high) in found]) >= 0.85
    assert simulated(0.0, 0)[0] > 0.05


def test_a_planted_difference_is_found_at_the_power_computed() -> None:
    sd = 0.05 * np.sqrt(2 / 5)  # of a difference of means over five runs
    effect = detectable_difference(_spread(sd, 20))
    power = np.mean([simulated(effect, seed)[0] < 0.05 for seed in range(SIMULATIONS)])
    assert power_of(20, effect, sd) == pytest.approx(0.8, abs=0.02) and power == pytest.approx(0.8, abs=0.1)


def _spread(sd: float, n: int) -> np.ndarray:
    """n numbers whose sample standard deviation is ``sd``."""
    values = np.linspace(-1, 1, n)
    return values / values.std(ddof=1) * sd
