"""Paired tests, ranks and tuning curves against established packages, brute force and simulations with a known answer."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.statistics.multiplicity import expected_best, holm
from reports.statistics.resampling import better_probability, gap_closed, interquartile_mean, rank_bootstrap
from reports.tables.comparison import Field, fields, gaps_closed
from tests.reports.made_up_records import cell, make_records, scores

SIMULATIONS = 60


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
    clear = rank_bootstrap(np.stack([cases + 0.3, cases, cases - 0.2])[:, None])
    assert clear.rank.tolist() == [1, 2, 3] and clear.tau == 1 and np.allclose(clear.frequency, np.eye(3))
    equal = rank_bootstrap(np.stack([cases, cases])[:, None])
    assert equal.rank.tolist() == [1.5, 1.5]
    noisy = rank_bootstrap(rng.normal(0.6, 0.1, (4, 1, 20)))
    assert noisy.tau < 0.9
    np.testing.assert_allclose(noisy.frequency.sum(1), 1)


def test_tau_is_scipy_s() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.2, (5, 9))
    draws = np.random.default_rng((1, 9)).multinomial(9, np.full(9, 1 / 9), size=10_000)[:1000]
    full = values.mean(1)
    taus = [stats.kendalltau(full, values @ drawn).statistic for drawn in draws]
    assert rank_bootstrap(values[:, None]).tau == pytest.approx(np.mean(taus), abs=1e-6)


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


def test_a_hard_run_that_a_method_lacks_closes_no_gap_and_one_run_has_no_interval() -> None:
    cells, rows = [], []
    levels = {("supervised", 1): (0.4, 0.2), ("cctr", 1): (0.6, 0.5), ("cps", 1): (0.6,), ("supervised", 28): (0.8,)}
    for (variant, labels), of_runs in levels.items():
        for run, level in enumerate(of_runs):
            cells.append(cell(variant, labels, run))
            rows += scores(cells[-1], {f"c{i}": level for i in range(4)})
    (cctr, cps) = gaps_closed(
        list(fields(make_records(cells, rows))), {("phantom", "quick", "run", "test"): 28}, "supervised"
    ).itertuples()
    assert (cctr.variant, cps.variant) == ("cctr", "cps") and np.isfinite(cctr.low)
    assert cps.gap == pytest.approx(0.5) and np.isnan(cps.low)  # (.6 - .4) / (.8 - .4), not (.6 - .3) / (.8 - .3)


def compared(effect: float, seed: int, run_noise: float, cases: int = 20, runs: int = 5) -> tuple[Field, pd.Series]:
    """One comparison through records: two names, shared difficulty of cases, noise of every run and of every case in it."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.7, 0.1, cases)
    cells = [cell(name, 1, run) for name in ("supervised", "other") for run in range(runs)]
    rows = []
    for one in cells:
        values = hard + effect * (one["variant"] == "other") + rng.normal(0, run_noise) + rng.normal(0, 0.05, cases)
        rows += scores(one, {f"c{i:02}": float(v) for i, v in enumerate(values)}, volumes=1, classes=("lv",))
    (field,) = fields(make_records(cells, [row for row in rows if row["metric"] == "dsc"]))
    return field, field.against("supervised").iloc[0]


def test_one_method_under_two_names_differs_at_the_stated_rate_whatever_runs_do() -> None:
    for run_noise in (0.0, 0.05):
        found = [compared(0.0, seed, run_noise)[1] for seed in range(SIMULATIONS)]
        assert np.mean([row["p"] < 0.05 for row in found]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / SIMULATIONS)
        assert np.mean([row["better_low"] <= 0.5 <= row["better_high"] for row in found]) >= 0.85


def test_verdicts_are_words_for_what_the_intervals_say() -> None:
    assert compared(0.2, 0, 0.01)[1]["verdict"] == "better" and compared(-0.2, 0, 0.01)[1]["verdict"] == "worse"
    field, row = compared(0.0, 0, 0.05)
    assert row["verdict"] == "cannot be told apart" and row["shift_low"] < 0 < row["shift_high"]
    assert field.rank_ranges.tolist() == [[1, 2], [1, 2]] and field.ranks_by_test.tolist() == [1.5, 1.5]
    within = field.against("supervised", margin=50).iloc[0]
    assert within["verdict"] == "equivalent" and within["equivalence_p"] < 0.05 < within["p"]
    field, row = compared(0.2, 0, 0.01, runs=1)
    assert row["verdict"] == "cannot be tested" and np.isnan(row[["p", "better"]].astype(float)).all() and row["shift_low"] > 0
    assert np.isnan(field.rank_ranges).all() and np.isnan(field.p_values).all()


def test_a_winner_in_every_case_is_no_tie_among_many_pairs() -> None:
    rng = np.random.default_rng(0)
    cells = [cell(f"m{i:02}", 1, run) for i in range(18) for run in range(3)]
    rows = [
        row
        for one in cells
        for row in scores(
            one, {f"c{i}": 0.4 + 0.35 * (one["variant"] == "m00") + rng.normal(0, 0.03) for i in range(10)}, 1, ("lv",)
        )
    ]
    (field,) = fields(make_records(cells, rows))
    assert field.variants[0] == "m00" and field.p_values[0, 1] < 0.05 and field.rank_ranges[0].tolist() == [1, 1]
    assert field.rank_ranges[1:].tolist() == [[2, 18]] * 17


def test_seeds_of_one_draw_and_draws_with_seeds_are_told_in_words() -> None:
    def words(runs: list[tuple[int, int]]) -> str:
        cells = [cell("a", 1) | {"cell": f"{d}-{s}", "draw": d, "seed": s, "draw_hash": f"w{d}"} for d, s in runs]
        (field,) = fields(make_records(cells, [row for one in cells for row in scores(one, {"x": 0.5})]))
        return f"{field.runs_in_words}, {field.per_unit.shape[1]} units"

    assert words([(0, 0)]) == "one run, 1 units" and words([(0, 0), (1, 1), (2, 2)]) == "3 runs, 3 units"
    assert words([(0, s) for s in range(5)]) == "5 seeds of draw 0 alone, 5 units"
    assert words([(d, s) for d in range(2) for s in range(3)]) == "2 draws with 6 runs, 2 units"
