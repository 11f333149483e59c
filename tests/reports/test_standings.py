"""Flips, regret and rankings: simulated at their stated values, and by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.page.commands import more_runs
from reports.page.words import in_words, of_choices
from reports.statistics.planning import flip_probability, variance_shares
from reports.statistics.random_effects import MeanSquare, seed_spread
from reports.statistics.rankings import MEAN, MEDIAN, RANKS, WORST_RUN, WORST_TENTH, rankings
from reports.statistics.selection import choice
from reports.tables.comparison import Field, fields
from reports.tables.rankings import ORDER, as_texts, rankings_of
from reports.tables.selection import regrets
from tests.reports.made_up_records import cell, make_records, scores
from tests.reports.simulated_standings import flips


@pytest.mark.parametrize("seeds", [1, 3])
def test_orders_flip_as_often_as_it_says(seeds):
    """True differences of all sizes; one more run of both, on the same cases, against the stated chance."""
    stated, flipped = flips(3, seeds, 3000 // seeds)
    error = np.sqrt(stated.mean() / len(stated))
    assert flipped.mean() > 0.05 and abs(stated.mean() - flipped.mean()) < 2.5 * error
    unsure = stated > 0.2
    assert flipped[unsure].mean() == pytest.approx(stated[unsure].mean(), abs=0.05 * np.sqrt(seeds))


def test_a_flip_by_hand_and_nothing_of_one_run():
    assert flip_probability(1.0, MeanSquare(2.0, 4), 3) == pytest.approx(stats.norm.sf(0.939986 / np.sqrt(2 * 4 / 3)))
    assert np.isnan(flip_probability(1.0, MeanSquare(2.0, 4), 1)) and flip_probability(1.0, MeanSquare(0.0, 4), 3) == 0
    means = np.array([[1.0, 3.0, 9.0], [2.0, 8.0, 1.0]])
    assert seed_spread(means, [0, 0, 1]).value == pytest.approx(4)  # residuals of +-1 in 2 x 2, one degree of freedom
    assert seed_spread(means, [0, 1, 2]) == MeanSquare(0.0, 0)


def test_seeds_in_draws_are_split_in_the_variance_budget():
    rng = np.random.default_rng(1)
    size = (14, 30, 2, 14)
    planted = {
        **{"method": (0,), "draw": (1,), "seed": (1, 2), "case": (3,), "method x draw": (0, 1), "method x seed": (0, 1, 2)},
        **{"method x case": (0, 3), "rest": (0, 1, 2, 3)},
    }
    variances = dict(zip(planted, (9.0, 9.0, 6.0, 9.0, 6.0, 16.0, 2.0, 9.0), strict=True))
    worlds = []
    for _ in range(10):
        values = np.zeros(size)
        for name, axes in planted.items():
            spread = np.sqrt(variances[name])
            values = values + rng.normal(0, spread, [n if axis in axes else 1 for axis, n in enumerate(size)])
        worlds.append(variance_shares(values))
        assert set(worlds[-1]) == set(planted) and sum(worlds[-1].values()) == pytest.approx(1)
    for name, variance in variances.items():
        within = 0.5 if name in ("method", "case") else 0.2
        assert np.mean([one[name] for one in worlds]) == pytest.approx(variance / 66, rel=within), name


def test_regret_by_hand():
    validation = np.array([[0.9, 0.5, 0.7], [0.8, 0.6, 0.7], [0.1, 0.1, 0.1]])
    test = np.array([[0.5, 0.5, 0.5], [0.7, 0.6, 0.8], [0.6, 0.6, 0.6]])
    found = choice(validation, test)
    assert found is not None and (found.best, found.runs) == (1, 3)
    # both means of validation are .7: half of each; run by run the choice is 0, 1, and 0 or 1
    assert found.regret == pytest.approx(0.1) and found.one_run == pytest.approx((0.2 + 0 + 0.1) / 3)
    assert found.hits == pytest.approx(0.5)
    assert choice(validation[:1], test[:1]) is None and choice(validation * np.nan, test) is None


def chosen_by_validation():
    """cps is chosen by validation, in one run of two, cctr is best on the test cases by 10 points; label_propagation does not train."""
    cells, rows = [], []
    known = {"supervised": (0.5, 0.5), "cps": (0.95, 0.6), "cctr": (0.8, 0.7), "label_propagation": (None, 0.9)}
    for variant, (validation, level) in known.items():
        for run in range(2):
            cells.append(
                cell(variant, run=run) | {"validation_last": validation and validation - 0.2 * run * (variant == "cps")}
            )
            rows += scores(cells[-1], {f"c{i}": level + 0.01 * i for i in range(4)})
    return make_records(cells, rows)


def test_regret_of_records_and_its_sentence():
    records = chosen_by_validation()
    found = list(fields(records))
    (row,) = regrets(records, found).itertuples()
    assert (row.chosen, row.best, row.methods, row.runs) == ("cps", "cctr", 3, 2)
    assert (row.regret, row.one_run, row.hits) == pytest.approx((0.1, 0.05, 0.5))
    (line,) = of_choices(regrets(records, found), found)
    assert "of 3 methods the validation cases choose cps, 10.0 points below cctr" in line and "5.0 points on average" in line
    assert "in 50 % of 2 runs" in line
    unknown = make_records([cell()], scores(cell(), {"a": 0.5}))
    assert regrets(unknown, list(fields(unknown))).empty


def test_each_ranking_by_hand():
    """a: best mean by one easy case; b: best in most cases; c: steady."""
    a, b, c = [1.0, 0.3, 0.3, 0.3, 0.3], [0.1, 0.4, 0.4, 0.4, 0.4], [0.35] * 5
    values = np.array([[a, a], [b, b], [c, c]])
    values[0, 1] -= 0.2
    values[0, 0] += 0.2
    found = rankings(values)
    assert found[MEAN].rank.tolist() == [1, 3, 2] and found[MEAN].value == pytest.approx([0.44, 0.34, 0.35])
    ranks = stats.rankdata(-values, axis=0).mean((1, 2))
    assert found[RANKS].value == pytest.approx(ranks) and found[RANKS].rank.tolist() == stats.rankdata(ranks).tolist()
    assert found[MEDIAN].value == pytest.approx([0.3, 0.4, 0.35]) and found[MEDIAN].rank.tolist() == [3, 1, 2]
    assert found[WORST_RUN].value == pytest.approx([0.24, 0.34, 0.35]) and found[WORST_RUN].rank.tolist() == [3, 2, 1]
    assert found[WORST_TENTH].value == pytest.approx([0.3, 0.1, 0.35]) and found[WORST_TENTH].rank.tolist() == [2, 3, 1]
    for one in found.values():
        assert (one.low <= one.rank.round(0) + 1).all() and (one.low <= one.high).all()
    assert np.isnan(rankings(values[:, :1])[MEAN].low).all()


def test_ranges_are_narrow_where_methods_are_clear_and_wide_where_they_are_equal():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.01, (3, 4, 30))
    clear = rankings(noise + np.array([0.9, 0.5, 0.1])[:, None, None])
    assert all((one.low == one.rank).all() and (one.high == one.rank).all() for one in clear.values())
    assert (rankings(noise)[MEAN].low == 1).all() and (rankings(noise)[MEAN].high == 3).all()


def test_all_rankings_stand_side_by_side_in_one_table():
    table = rankings_of(list(fields(chosen_by_validation())))
    assert len(table) == 4 * len(ORDER) and set(table["ranking"]) == set(ORDER)
    first = as_texts(table)[0]
    assert first[:2] == ["3", "label_propagation"] and first[2] == "1 (1 to 1)" and len(first) == 2 + len(ORDER)
    single = [replace(field, runs=field.runs[:1], scores=field.scores[:, :1]) for field in fields(chosen_by_validation())]
    assert isinstance(table, pd.DataFrame) and as_texts(rankings_of(single))[0][2:] == ["1", "1", "1", "2.5", "1", "1"]


def test_what_it_takes_comes_with_the_command_for_it():
    section = ("acdc", "quick[steps=1600]", "tuned", "test")
    field = Field(section, 3, ("a", "b"), ((0, 0), (1, 1)), ("x", "y"), np.zeros((2, 2, 2)), "quick", {})
    assert more_runs(field, ["cctr[rsl=false] (tuned)", "cps (tuned)"], 4) == (
        "python -m benchmark run --dataset acdc --data FOLDER --methods 'cctr[rsl=false],cps' --labels 3"
        " --protocol 'quick[steps=1600]' --hparams tuned --runs 6"
    )
    phantom = replace(field, section=("phantom", "quick", "run", "test"))
    start = "python -m benchmark run --dataset phantom --methods a,b --labels 3 --protocol quick"
    for runs, said in (
        (((0, 0), (0, 1)), "--draws 0 --seeds 0,1,2"),
        (((0, 0), (0, 1), (2, 0), (2, 1)), "--draws 0,2,3 --seeds 0,1"),
    ):
        assert more_runs(replace(phantom, runs=runs), ["a", "b"], 1) == f"{start} {said}"
    assert more_runs(phantom, ["a (code 12ab)", "b"], 1) is None


def test_the_command_stands_in_the_words():
    rng = np.random.default_rng(3)
    cells = [cell(variant, run=run) for variant in ("supervised", "cps") for run in range(3)]
    levels = {one["cell"]: 0.5 + 0.04 * (one["variant"] == "cps") + rng.normal(0, 0.03) for one in cells}
    rows = [row for one in cells for row in scores(one, {f"c{i}": levels[one["cell"]] + 0.02 * i for i in range(8)})]
    (line,) = in_words(list(fields(make_records(cells, rows))), "supervised")
    assert "cannot be told apart" in line and "more runs" in line and "would turn their order with a chance of" in line
    assert "python -m benchmark run --dataset phantom --methods cps,supervised --labels 3 --protocol quick --runs " in line
