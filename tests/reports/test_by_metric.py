"""Other metrics and single classes: by hand, in both directions of better, and in worlds where nothing differs."""

import numpy as np
import pytest
from scipy import stats

from reports.page.columns import COLUMNS
from reports.page.rows import table_rows
from reports.tables.by_metric import by_metric
from reports.tables.comparison import Field, fields
from reports.tables.leaderboard import leaderboard
from tests.reports.made_up_records import cell, make_records, scores

NAN = float("nan")
RUNS, CASES = 3, 6


def two_methods(undefined=False):
    """supervised and cctr in 3 runs of 6 cases: cctr is 3 mm nearer and .2 higher in NSD; HD95 by method, run and case."""
    rng = np.random.default_rng(0)
    cells, rows, distances = [], [], np.zeros((2, RUNS, CASES))
    for i, variant in enumerate(("supervised", "cctr")):
        for run in range(RUNS):
            cells.append(cell(variant, run=run))
            distances[i, run] = 9 - 3 * i + rng.normal(0, 0.1) + rng.normal(0, 0.3, CASES)
            for case, distance in enumerate(distances[i, run]):
                for name, further in (("rv", 1.0), ("lv", 0.0)):
                    value = NAN if undefined and (i, run, case, name) == (0, 0, 5, "lv") else distance + further
                    known = {"hd95": value, "nsd": 0.5 + 0.2 * i + rng.normal(0, 0.01)}
                    rows += scores(cells[-1], {f"c{case}": 0.8 + rng.normal(0, 0.01)}, classes=(name,), volumes=1, **known)
    return make_records(cells, rows), distances


def row_of(table, variant, name, metric):
    (row,) = table[(table["variant"] == variant) & (table["class"] == name) & (table["metric"] == metric)].to_dict("records")
    return row


def test_a_distance_of_a_class_by_hand():
    records, values = two_methods()
    row = row_of(by_metric(records, "supervised"), "cctr", "lv", "hd95")
    assert row["mean"] == pytest.approx(values[1].mean()) and (row["runs"], row["units"], row["cases"]) == (3, 3, 6)
    apart = values[1] - values[0]
    means = values.mean(2)
    left = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    of_run = 2 * (left**2).sum() / (RUNS - 1) / RUNS
    of_case = apart.mean(0).var(ddof=1) / CASES
    rest = apart - apart.mean(0) - apart.mean(1, keepdims=True) + apart.mean()
    both = (rest**2).sum() / ((RUNS - 1) * (CASES - 1)) / (RUNS * CASES)
    error = np.sqrt(of_run + of_case - min(of_run, of_case, both))
    df = (of_run + of_case) / (of_run / (RUNS - 1) + of_case / (CASES - 1))
    reach = stats.t.ppf(0.975, df) * error
    assert row["shift"] == pytest.approx(apart.mean())
    assert (row["shift_low"], row["shift_high"]) == pytest.approx((apart.mean() - reach, apart.mean() + reach))
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(apart.mean()) / error, df)) and row["verdict"] == "better"


def test_better_is_a_smaller_distance_and_a_higher_share_and_equivalence_is_said_of_dsc_alone():
    table = by_metric(two_methods()[0], "cctr", margin=5)
    distance, surface = row_of(table, "supervised", "rv", "hd95"), row_of(table, "supervised", "mean", "nsd")
    assert distance["shift"] == pytest.approx(3, abs=0.5) and distance["verdict"] == "worse"
    assert surface["shift"] == pytest.approx(-0.2, abs=0.02) and surface["verdict"] == "worse"
    assert row_of(table, "supervised", "lv", "dsc")["verdict"] == "equivalent"
    assert row_of(table, "supervised", "lv", "assd")["verdict"] == "cannot be told apart"


def test_the_mean_over_classes_is_the_leaderboard_s_and_an_undefined_distance_counts_in_means_alone():
    records, values = two_methods(undefined=True)
    table, board = by_metric(records, "supervised"), leaderboard(records).set_index("variant")
    for metric in ("dsc", "hd95", "assd", "nsd"):
        for variant in ("supervised", "cctr"):
            row = row_of(table, variant, "mean", metric)
            ours = [row[end] for end in ("mean", "low", "high")]
            assert ours == pytest.approx([board.loc[variant, metric + end] for end in ("", "_low", "_high")]), metric
    lacking = row_of(table, "supervised", "lv", "hd95")
    defined = np.delete(values[0].ravel(), 5)
    assert lacking["cases"] == 5 and lacking["mean"] == pytest.approx(defined.mean())
    assert row_of(table, "cctr", "lv", "hd95")["cases"] == 6


def test_a_distance_s_interval_has_no_upper_bound_and_no_negative_end():
    cells = [cell(run=0), cell(run=1)]
    rows = scores(cells[0], {"a": 0.5, "b": 0.6}, hd95=1.0) + scores(cells[1], {"a": 0.5, "b": 0.6}, hd95=9.0)
    (row,) = leaderboard(make_records(cells, rows)).itertuples()
    assert row.hd95_low == 0 and row.hd95_high > 50 and row.hd95 == 5


def test_skewed_distances_of_equal_methods_differ_as_seldom_as_stated():
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        noise = rng.normal(0, 0.3, 15) + rng.normal(0, 0.2, (3, 3, 1)) + rng.normal(0, 0.4, (3, 3, 15))
        field = Field(
            ("d", "p", "run", "t"), 3, ("a", "b", "c"), ((0, 0), (1, 1), (2, 2)), tuple("x" * 15), -np.exp(noise), "p", {}
        )
        found.append((field.against("a")["p"] < 0.05).any())
    assert np.mean(found) <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 300)


def test_the_page_has_a_class_s_verdicts_and_a_chosen_metric_s_interval():
    records, _ = two_methods()
    keys = [column.key for column in COLUMNS]
    lines = table_rows(by_metric(records, "supervised"), "supervised", leaderboard(records), list(fields(records)))
    rows = {(row["method"], row["class"]): row for row in (dict(zip(keys, line, strict=True)) for line in lines)}
    assert set(rows) == {(method, name) for method in ("supervised", "cctr") for name in ("mean", "rv", "lv")}
    assert rows["cctr", "lv"]["hd95_judged"].startswith("better (p ") and rows["cctr", "lv"]["hd95_shift"].startswith("-3.")
    low, high = map(float, rows["cctr", "mean"]["nsd_interval"].split(" to "))
    assert low < rows["cctr", "mean"]["nsd"] < high and rows["supervised", "lv"]["hd95_shift"] is None
    assert rows["cctr", "rv"]["interval"] != rows["cctr", "mean"]["interval"]


def test_records_in_which_no_distance_is_defined_have_a_row_all_the_same():
    one = cell()
    records = make_records([one], scores(one, {"a": 1.0, "b": 0.9}, hd95=NAN, assd=NAN))
    (row,) = leaderboard(records).itertuples()
    assert row.dsc == pytest.approx(0.95) and np.isnan([row.hd95, row.hd95_low, row.assd_high]).all() and row.nsd_low <= row.nsd
    assert set(by_metric(records, "supervised")["metric"]) == {"dsc", "nsd"}
