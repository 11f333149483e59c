"""A method that lacks runs stands where it would stand had it done them, within what a score can be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from benchmark.records.table import Records
from reports.figures.ranking import ranking
from reports.page.words import in_words
from reports.statistics.missing_runs import most_together, on_all_runs
from reports.statistics.rankings import MEAN
from reports.tables.by_metric import by_metric
from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown
from reports.tables.rankings import rankings_of, ranks_are_of, resampled
from tests.reports.made_up_records import cell, make_records, scores

NAN = np.nan
METRICS = ("dsc", "nsd", "hd95", "assd")


def world(rng: np.random.Generator, methods: int = 12, runs: int = 3, run: float = 0.7) -> np.ndarray:
    """(methods, runs) of fractions: log odds are method, from about .5 to 88 %, + run + a little of both."""
    level = rng.uniform(-5, 2, (methods, 1))
    return special.expit(level + rng.normal(0, run, runs) + rng.normal(0, 0.15, (methods, runs)))


def test_a_row_that_lacks_nothing_and_rows_without_a_common_run_keep_their_own_means() -> None:
    means = world(np.random.default_rng(0))
    assert (on_all_runs(means) == means.mean(1)).all()
    means[2, 1] = NAN
    whole = np.arange(len(means)) != 2
    assert on_all_runs(means)[whole] == pytest.approx(means[whole].mean(1))
    apart = np.array([[0.1, 0.2, NAN, NAN], [NAN, NAN, 0.5, 0.7]])
    assert on_all_runs(apart) == pytest.approx([0.15, 0.6])
    assert np.isnan(on_all_runs(np.array([[0.1, 0.2], [NAN, NAN]]))[1])


@pytest.mark.parametrize("most", [1.0, np.inf])
def test_what_is_missing_is_what_statsmodels_predicts(most: float) -> None:
    api = pytest.importorskip("statsmodels.api")
    means = world(np.random.default_rng(1)) * (1 if most == 1 else 80)
    means[[1, 4, 4, 7], [0, 1, 2, 2]] = NAN
    known = ~np.isnan(means)
    method, run = np.indices(means.shape)
    design = np.hstack([np.eye(len(means))[method.ravel()], np.eye(means.shape[1])[run.ravel()][:, 1:]])
    family = api.families.Binomial() if most == 1 else api.families.Poisson()
    fit = api.GLM(means[known], design[known.ravel()], family=family).fit(tol=1e-12)
    would = fit.predict(design).reshape(means.shape)
    assert on_all_runs(means, most) == pytest.approx(np.where(known, means, would).mean(1), abs=1e-6)


def test_the_same_method_with_a_run_less_stands_where_it_stands_also_at_the_ends_of_the_scale() -> None:
    found = on_all_runs(np.array([[0.8, 0.7, 0.45], [0.8, 0.7, NAN], [0.0, 0.0, 0.0], [0.0, NAN, NAN], [1.0, NAN, 1.0]]))
    assert found[1] == pytest.approx(found[0], abs=1e-9)
    assert 0 <= found[3] < 1e-5 and 1 - 1e-5 < found[4] <= 1


def test_runs_that_differ_are_told_from_methods_that_differ_better_than_by_own_means_or_by_adding_points() -> None:
    """12 methods, of which 5 have run 0 alone: how far from the means over all 3 runs, in DSC points (root mean square)."""
    rng, off = np.random.default_rng(2), {"own": [], "added": [], "fitted": []}  # type: ignore[var-annotated]
    for _ in range(200):
        truth = world(rng)
        seen = truth.copy()
        seen[:5, 1:] = NAN
        off["own"].append(seen[:5, 0] - truth[:5].mean(1))
        off["added"].append(seen[:5, 0] + (truth[5:].mean() - truth[5:, 0].mean()) - truth[:5].mean(1))
        found = on_all_runs(seen)
        assert ((found > 0) & (found < 1)).all()
        off["fitted"].append(found[:5] - truth[:5].mean(1))
    rms = {name: 100 * np.sqrt(np.mean(np.square(values))) for name, values in off.items()}
    assert rms["fitted"] < 0.5 * rms["added"] < 0.5 * rms["own"], rms


def poor_and_good(shift: float) -> Records:
    """Three methods with two runs, the second ``shift`` better, and three with the first alone, of which one at almost nothing."""
    cells, rows = [], []
    levels = {"supervised": 0.4, "a": 0.5, "b": 0.6, "once": 0.7, "again": 0.65, "poor": 0.01}
    for place, (variant, level) in enumerate(levels.items()):
        for run in range(2 if place < 3 else 1):
            cells.append(cell(variant, run=run))
            dsc = level + run * shift + 0.01 * place * run
            rows += scores(cells[-1], {"x": dsc, "y": dsc + 0.02, "z": dsc + 0.01}, hd95=60 * (1 - dsc))
    return make_records(cells, rows)


@pytest.mark.parametrize("shift", [-0.3, 0.3])
def test_every_score_lies_in_its_interval_and_within_what_it_can_be(shift: float) -> None:
    records = poor_and_good(shift)
    table = leaderboard(records)
    for metric in METRICS:
        value, low, high = (table[metric + end] for end in ("", "_low", "_high"))
        assert ((low <= value) & (value <= high) & (low >= 0)).all(), metric
        assert metric not in METRICS[:2] or (high <= 1).all(), metric
    one_by_one = by_metric(records, "supervised")
    assert ((one_by_one["low"] <= one_by_one["mean"]) & (one_by_one["mean"] <= one_by_one["high"])).all()
    (field,) = fields(records)
    ours = table.set_index("variant")["dsc"]
    assert field.adjusted.tolist() == pytest.approx(ours[list(field.variants)].tolist())
    assert abs(ours["poor"] - 0.02) < 0.04 and abs(ours["once"] - 0.71) > 0.05


def test_pages_say_which_methods_lack_runs_once_and_what_is_not_tested() -> None:
    records = poor_and_good(0.2)
    assert "- ‡ once, again, poor, 3 labelled: lack 1 of the runs that others have done" in to_markdown(leaderboard(records))
    (sentence,) = in_words(list(fields(records)), "supervised")
    assert "3 cases, 2 runs, of which 3 of 6 methods lack some." in sentence
    assert "3 that cannot be tested, sharing one run with it." in sentence
    assert "for these cases in the run that both have done: cannot be tested, one run." in sentence


@pytest.mark.parametrize(
    ("runs_of", "methods", "runs"),
    [
        ([3, 3, 3, 1, 1, 1, 1, 1], 3, 3),  # three in three runs, not eight in the one that all have done
        ([2, 2, 2, 2, 3, 3], 6, 2),  # 5 x 1 degrees of freedom, not 1 x 2
        ([1, 1, 1, 2], 4, 1),
        ([2, 2, 2], 3, 2),
    ],
)
def test_ranks_are_of_the_methods_and_runs_that_say_most(runs_of: list[int], methods: int, runs: int) -> None:
    done = np.arange(max(runs_of)) < np.array(runs_of)[:, None]
    which, of = most_together(done)
    assert (which.sum(), of.sum()) == (methods, runs) and done[which][:, of].all()


def test_one_failed_run_takes_one_method_from_the_ranks_and_methods_without_a_common_run_stay() -> None:
    done = np.ones((5, 4), bool)
    done[2, 3] = False
    which, of = most_together(done)
    assert which.tolist() == [True, True, False, True, True] and of.all()
    which, of = most_together(np.eye(3, dtype=bool))
    assert which.all() and of.all()


def test_ranks_of_some_methods_say_of_which() -> None:
    rng = np.random.default_rng(7)
    cells = [cell(name, 1, run=run) for name in "abc" for run in range(3)] + [cell(f"alone{i}", 1) for i in range(6)]
    level = {c["variant"]: rng.uniform(0.4, 0.8) for c in cells}
    rows = [r for c in cells for r in scores(c, {f"c{i}": level[c["variant"]] + rng.normal(0, 0.05) for i in range(9)})]
    (field,) = fields(make_records(cells, rows))
    assert len(field.variants) == 9 and set(field.together.variants) == set("abc") and len(field.together.runs) == 3
    assert field.ranks.frequency.shape == (3, 3) and field.complete.shape == (3, 3, 9) and field.variance_shares
    table = rankings_of([field])
    assert set(table["variant"]) == set("abc") and table.loc[table["ranking"] == MEAN, "low"].notna().all()
    assert ranks_are_of(field) == " of 3 of 9 methods in 3 runs" and resampled(field) == "runs and cases"
    assert resampled(next(fields(make_records(cells[-6:], rows)))) == "cases"
    whole = replace(field.together)
    assert whole.together is whole and ranks_are_of(whole) == ""
    assert len(ranking(field).axes[0].get_yticks()) == 3 and len(ranking(field).axes[1].get_yticks()) == 9
    assert "Of the variance of a case's score, of 3 of 9 methods in 3 runs: method" in in_words([field], "a")[0]


def test_what_two_runs_of_two_methods_cannot_show_is_not_put_in_points() -> None:
    cells = [cell(name, 1, run=run) for name in ("supervised", "cctr") for run in range(2)]
    level = dict(zip([c["cell"] for c in cells], (0.5, 0.6, 0.7, 0.5), strict=True))
    rows = [r for c in cells for r in scores(c, {f"c{i}": level[c["cell"]] + 0.01 * i for i in range(9)})]
    (line,) = in_words(list(fields(make_records(cells, rows))), "supervised")
    assert "No difference is large enough to be mostly seen in so few runs." in line
