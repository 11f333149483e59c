"""A method that never finds a class has not converged: it is marked, and stands in no rank and no comparison."""

import re

import pandas as pd

from reports.page.columns import COLUMNS
from reports.page.rows import table_rows
from reports.page.words import in_words
from reports.tables.by_metric import by_metric
from reports.tables.comparison import fields, gaps_closed
from reports.tables.escaping import to_csv
from reports.tables.latex import to_latex
from reports.tables.leaderboard import leaderboard, unconverged
from reports.tables.leaderboard_forms import to_markdown
from reports.writing.report import write_report
from tests.reports.made_up_records import cell, make_records, scores
from tests.reports.test_leaderboard import printed

WORDS = "right ventricle never found (1 of 3 runs): not converged at this length"


def made_up(never, selections=("last",)):
    """Four methods in three runs on ten cases; in run 1 of ``late`` the record says ``never``."""
    cells, cases = [], []
    for variant, level in [("best", 0.8), ("supervised", 0.7), ("worst", 0.5), ("late", 0.3)]:
        for run in range(3):
            found = never if (variant, run) == ("late", 1) else []
            cells.append(cell(variant, 3, run) | ({} if never is None else {"never_predicted": found}))
            values = {f"c{i}": level + 0.01 * (i % 4) + 0.002 * run for i in range(10)}
            for selection in selections:
                cases += scores(cells[-1], values, selection=selection)
    return make_records(cells, cases)


def test_a_row_says_which_class_and_how_many_runs_and_comes_last():
    records = made_up(["right ventricle"])
    table = leaderboard(records)
    assert table["variant"].tolist() == ["best", "supervised", "worst", "late"]
    assert table["runs_unconverged"].tolist() == [0, 0, 0, 1] and table["never_found"].tolist() == [
        "",
        "",
        "",
        "right ventricle",
    ]
    assert unconverged(records) == {("phantom", "quick", "run", 3, "late"): WORDS}
    for text in (printed(table, 200), to_markdown(table), to_latex(table)):
        assert re.search(r"30\.\d\*|31\.\d\*|32\.\d\*", text), text
        assert f"* late, 3 labelled: {WORDS}; in no rank and no comparison" in text
        assert text.count("not converged") == 1
    assert "right ventricle" in to_csv(table)
    better = leaderboard(records.select(records.cells["variant"] != "late"))
    assert "not converged" not in printed(better, 120)


def test_a_better_one_that_has_not_converged_comes_after_those_that_have():
    records = made_up(["right ventricle"])
    cells = records.cells.assign(never_predicted=[["right ventricle"] * (v == "best") for v in records.cells["variant"]])
    table = leaderboard(type(records)(cells, records.cases))
    assert table["variant"].tolist() == ["supervised", "worst", "late", "best"]
    assert table["runs_unconverged"].tolist() == [0, 0, 0, 3]


def test_ranks_and_comparisons_are_as_if_it_had_not_run():
    records, without = made_up(["right ventricle", "myocardium"]), made_up([]).select(made_up([]).cells["variant"] != "late")
    (field,), (other,) = fields(records), fields(without)
    assert "late" in field.variants and field.ranked.variants == other.variants and other.ranked is other
    assert (field.ranked.rank == other.rank).all() and (field.ranked.rank_ranges == other.rank_ranges).all()
    pd.testing.assert_frame_equal(field.ranked.against("supervised"), other.against("supervised"))
    rows = {row[0]: dict(zip([c.key for c in COLUMNS], row, strict=True)) for row in _all_classes(records, [field])}
    assert rows["late"]["ranks"] is None and rows["late"]["shift"] is None and rows["late"]["dsc"] > 30
    assert rows["late"]["note"] == "right ventricle, myocardium never found (1 of 3 runs): not converged at this length"
    assert rows["worst"]["ranks"] == "3 (3 to 3)" and rows["worst"]["note"] is None
    words = in_words([field], "supervised")
    assert words[0].endswith(f"in no rank and no comparison: late: {rows['late']['note']}.")
    assert "1 worse (worst)" in words[1] and "1 better (best)" in words[1]


def _all_classes(records, found):
    return [
        row
        for row in table_rows(by_metric(records, "supervised"), "supervised", leaderboard(records), found)
        if row[[column.key for column in COLUMNS].index("class")] == "mean"
    ]


def test_a_baseline_that_has_not_converged_is_no_baseline():
    records = made_up(["right ventricle"])
    cells = records.cells.assign(variant=records.cells["variant"].replace({"late": "supervised", "supervised": "late"}))
    (field,) = fields(type(records)(cells, records.cases))
    assert field.ranked.against("supervised").empty
    assert gaps_closed([field], {field.section: 28}, "supervised").empty


def test_the_weights_that_validation_chose_are_not_marked():
    records = made_up(["right ventricle"], ("last", "val"))
    assert leaderboard(records, "val")["runs_unconverged"].tolist() == [0, 0, 0, 0]
    (field,) = fields(records, "val")
    assert field.ranked is field


def test_old_records_are_as_before(tmp_path):
    old, new = made_up(None), made_up([])
    assert "never_predicted" not in old.cells
    pd.testing.assert_frame_equal(leaderboard(old), leaderboard(new))
    assert next(fields(old)).ranked.variants == ("best", "supervised", "worst", "late")


def test_a_report_where_nothing_has_converged_is_written(tmp_path):
    records = made_up(["right ventricle"])
    cells = records.cells.assign(never_predicted=[["right ventricle"]] * len(records.cells))
    board, files = write_report(type(records)(cells, records.cases), tmp_path)
    assert (board["runs_unconverged"] == 3).all()
    names = {file.name for file in files}
    assert "phantom-quick-run-test-cases.png" in names and not any("ranks" in name or "against" in name for name in names)
    assert "3 of 3 runs" in (tmp_path / "index.html").read_text()
