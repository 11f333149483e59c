"""The leaderboard on made-up records with answers by hand."""

import re
import shutil
import subprocess
import sys
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from benchmark.ground.errors import BadInput
from reports.tables.comparison import fields
from reports.tables.escaping import to_csv
from reports.tables.latex import LONG, ties_of, to_latex
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown, to_terminal
from reports.writing.leaderboard import write_label_efficiency, write_leaderboard
from tests.reports.made_up_records import cell, failed, make_records, scores

NAN = float("nan")


def printed(table, width=80):
    stream = StringIO()
    Console(file=stream, width=width).print(to_terminal(table))
    return stream.getvalue()


def test_a_row_by_hand():
    runs = [cell(run=0, seconds=50.0), cell(run=1, seconds=70.0)]
    rows = scores(runs[0], {"a": 0.5, "b": 0.7}) + scores(runs[1], {"a": 0.6, "b": 1.0}, hd95=10.0)
    (row,) = leaderboard(make_records(runs, rows)).itertuples()
    assert row.dsc == pytest.approx(0.7) and 0 <= row.dsc_low < 0.7 < row.dsc_high <= 1.0
    assert row.hd95 == pytest.approx((6 + 10) / 2) and row.assd == pytest.approx(1.5) and row.nsd == pytest.approx(0.7)
    assert (row.cases, row.structures, row.missed, row.undefined) == (2, 2 * 2 * 2 * 3, 0, 0)
    assert (row.runs_done, row.runs_failed, row.seconds, row.spacing_unit) == (2, 0, 60.0, "mm")
    assert (row.units, row.runs_lacking, row.draw0_runs, row.draw0_dsc) == (2, 0, 1, pytest.approx(0.6))


def test_a_run_that_is_missing_is_never_a_gain():
    """b is a, but failed on draw 2, which is 30 points harder: it is neither above nor below, in scores, ranks and distances."""
    cells, rows = [], []
    for variant in "ab":
        for run, level in enumerate([0.8, 0.7, 0.45]):
            if (variant, run) == ("b", 2):
                cells.append(failed(variant=variant, run=run))
                continue
            cells.append(cell(variant, run=run))
            rows += scores(cells[-1], {"x": level, "y": level + 0.1}, hd95=100 * (1 - level))
    records = make_records(cells, rows)
    table = leaderboard(records).set_index("variant")
    assert table["dsc"].tolist() == pytest.approx([0.7, 0.7]) and table["hd95"].tolist() == pytest.approx([35.0, 35.0])
    assert table["runs_lacking"].to_dict() == {"a": 0, "b": 1}
    (field,) = fields(records)
    assert field.rank.tolist() == [1.5, 1.5]
    for text in (printed(leaderboard(records)), to_markdown(leaderboard(records))):
        assert "70.0‡" in text and "‡ b, 3 labelled: lacks 1 of the runs that others have done" in text


def test_methods_without_a_common_run_keep_their_own_means_and_are_marked():
    runs = [cell("a", run=0), cell("b", run=1)]
    table = leaderboard(make_records(runs, scores(runs[0], {"x": 0.5}) + scores(runs[1], {"x": 0.7})))
    assert table["dsc"].tolist() == pytest.approx([0.7, 0.5]) and table["runs_lacking"].tolist() == [1, 1]


def test_seeds_of_a_draw_are_no_runs_of_their_own():
    """Draws at .5, .6, .7, three seeds each that hardly differ: as sure as three runs, not as nine."""

    def one(seeds):
        cells = [
            cell(run=0) | {"cell": f"{d}{s}", "draw": d, "seed": s, "draw_hash": f"w{d}"}
            for d in range(3)
            for s in range(seeds)
        ]
        rows = [r for c in cells for r in scores(c, {f"c{i}": 0.5 + 0.1 * c["draw"] + 0.001 * i for i in range(6)})]
        (row,) = leaderboard(make_records(cells, rows)).itertuples()
        return row

    few, many = one(1), one(3)
    assert (few.units, many.units, many.runs_done) == (3, 3, 9)
    assert (many.dsc_low, many.dsc_high) == pytest.approx((few.dsc_low, few.dsc_high)) and few.dsc_high - few.dsc_low > 0.4


def test_an_interval_of_one_run_says_that_it_is_of_cases_only():
    once, twice = [cell()], [cell(), cell(run=1)]
    for runs, said in ((once, True), (twice, False)):
        table = leaderboard(make_records(runs, [row for one in runs for row in scores(one, {"a": 0.5, "b": 0.7})]))
        assert all(("] cases only" in form(table)) == said for form in (printed, to_markdown, to_latex))


def test_missed_and_undefined_structures_are_counted_and_undefined_are_left_out():
    one = cell()
    rows = [
        *scores(one, {"a": 0.0}, volumes=1, classes=("rv",), missed=1.0, hd95=100.0),
        *scores(one, {"b": 1.0}, volumes=1, classes=("rv",), hd95=NAN, assd=NAN, rve=NAN),
        *scores(one, {"c": 0.8}, volumes=1, classes=("rv",), hd95=4.0),
    ]
    (row,) = leaderboard(make_records([one], rows)).itertuples()
    assert (row.missed, row.undefined, row.structures) == (1, 1, 3)
    assert row.hd95 == 52.0 and row.dsc == pytest.approx(0.6)


def test_sorted_by_budget_then_best_first(grid):
    table = leaderboard(grid)
    assert list(table["labels"]) == [1] * 3 + [3] * 3 + [28] * 3
    assert all(part["dsc"].is_monotonic_decreasing for _, part in table.groupby("labels"))


def test_only_the_reported_network_and_the_asked_selection_unless_every_network():
    one = cell()
    rows = [
        *scores(one, {"a": 0.5}),
        *scores(one, {"a": 0.9}, network="swin"),
        *scores(one, {"a": 0.8}, selection="val"),
    ]
    records = make_records([one], rows)
    assert leaderboard(records)["dsc"].tolist() == pytest.approx([0.5])
    by_network = leaderboard(records, every_network=True).set_index("network")["dsc"].to_dict()
    assert by_network == pytest.approx({"unet": 0.5, "swin": 0.9})
    val = leaderboard(records, selection="val")
    assert val["dsc"].tolist() == pytest.approx([0.8]) and val["val_labels"].tolist() == [4]
    assert "3 + 4 val" in to_markdown(val)


def test_test_sets_datasets_and_protocols_are_apart():
    runs = [cell(), cell(dataset="acdc"), cell(protocol="paper", protocol_hash="p1") | {"cell": "x"}]
    rows = [row for run in runs for row in scores(run, {"a": 0.5})] + scores(runs[1], {"z": 0.9}, test_set="official")
    table = leaderboard(make_records(runs, rows))
    found = dict(zip(zip(table["dataset"], table["protocol"], table["test_set"], strict=True), table["dsc"], strict=True))
    assert found == pytest.approx(
        {
            ("acdc", "quick", "official"): 0.9,
            ("acdc", "quick", "test"): 0.5,
            ("phantom", "paper", "test"): 0.5,
            ("phantom", "quick", "test"): 0.5,
        }
    )


def test_a_method_that_failed_everywhere_has_a_row_in_every_form():
    good = cell("cps")
    table = leaderboard(make_records([good, failed(variant="cctr[rsl=false]")], scores(good, {"a": 0.5})))
    row = table.set_index("variant").loc["cctr[rsl=false]"]
    assert (row["runs_done"], row["runs_failed"], row["test_set"]) == (0, 1, "test") and pd.isna(row["dsc"])
    for text in (printed(table), to_markdown(table)):
        (line,) = (line for line in text.splitlines() if "cctr[rsl=false]" in line and "failed:" not in line)
        assert "failed" in line and "nan" not in text.replace("loss is nan", "").lower()
        assert "RuntimeError: loss is nan" in text
    assert "RuntimeError: loss is nan" in to_csv(table)


@pytest.mark.parametrize(
    "changes,named",
    [
        ({"data_hash": "other"}, ["data_hash d0, other", "dataset phantom"]),
        ({"protocol_hash": "other"}, ["protocol_hash other, p0", "protocol quick"]),
        ({"variant": "cps", "draw_hash": "other"}, ["draw_hash other, w3-0", "draw 0"]),
        ({"cell": "twin"}, ["phantom-cctr-3-0, twin", "seed 0"]),
    ],
)
def test_records_that_do_not_belong_together_are_refused(changes, named):
    with pytest.raises(BadInput) as refusal:
        leaderboard(make_records([cell(), cell(cell="twin", seed=1, draw_hash="w3-0") | {"seed": 0} | changes]))
    assert all(part in str(refusal.value) for part in named)


def test_the_same_draw_number_at_another_budget_is_another_draw():
    runs = [cell(labels=1), cell(labels=3)]
    assert len(leaderboard(make_records(runs, [row for run in runs for row in scores(run, {"a": 0.5})]))) == 2


def test_printed_tables_say_unit_percent_and_interval(grid):
    text = printed(leaderboard(grid))
    assert "phantom: test (10 cases), protocol quick, last weights" in text
    assert "HD95 mm" in text and "cctr[rsl=false]" in text and "0/180" in text and "2/3" in text
    assert max(map(len, text.splitlines())) <= 80
    voxels = cell(spacing_unit="voxel")
    assert "HD95 voxel" in to_markdown(leaderboard(make_records([voxels], scores(voxels, {"a": 0.5, "b": 0.7}))))


def test_markdown_is_a_well_formed_table_whatever_a_variant_is_called():
    one = cell("cctr[mode=a|b]")
    lines = to_markdown(leaderboard(make_records([one], scores(one, {"a": 0.5})))).splitlines()
    rows = [line.replace(r"\|", "") for line in lines if line.startswith("|")]
    assert len(rows) == 3 and len({row.count("|") for row in rows}) == 1


def test_report_writes_tables_and_figures(grid, tmp_path):
    table = leaderboard(grid)
    paths = write_leaderboard(table, tmp_path / "new" / "report")
    paths += write_label_efficiency(table, tmp_path / "new" / "report" / "figures")
    assert [path.name for path in paths] == [
        "leaderboard.csv",
        "leaderboard.md",
        "leaderboard.tex",
        "label_efficiency.png",
        "label_efficiency.svg",
    ]
    assert all(path.stat().st_size > 500 for path in paths)
    assert len(pd.read_csv(paths[0])) == 9


def test_report_of_failures_alone_is_a_table_of_failures(tmp_path):
    table = leaderboard(make_records([failed(), failed(labels=7)]))
    paths = write_leaderboard(table, tmp_path) + write_label_efficiency(table, tmp_path)
    assert [path.name for path in paths] == ["leaderboard.csv", "leaderboard.md", "leaderboard.tex"]
    assert (tmp_path / "leaderboard.md").read_text().count("| failed |") == 2


def test_report_of_nothing_is_refused():
    with pytest.raises(BadInput, match="nothing to report"):
        leaderboard(make_records([]))


def test_spreadsheets_see_no_formula_and_latex_no_command():
    one = cell("=cmd|' /C calc'!A0")
    table = leaderboard(make_records([one, failed(variant="a_b[x=50%]") | {"error": "@SUM(A1)"}], scores(one, {"a": 0.5})))
    read = pd.read_csv(StringIO(to_csv(table)))
    assert set(read["variant"]) == {"'=cmd|' /C calc'!A0", "a_b[x=50%]"} and "'@SUM(A1)" in set(read["error"])
    assert not any(str(value).startswith(("=", "@", "+")) for column in read for value in read[column])
    assert r"a\_b[x=50\%]" in to_latex(table) and to_latex(table).count(r"\begin{tabular}") == 1


def test_latex_has_a_table_for_each_budget_with_the_best_in_bold_and_what_cannot_be_told_from_it_marked(grid):
    text = to_latex(leaderboard(grid), ties_of(fields(grid)))
    assert text.count(r"\begin{table}") == text.count(r"\toprule") == text.count(r"\textbf{") == 3
    assert set(re.findall(r"\\label\{([^}]*)\}", text)) == {f"tab:phantom-test-quick-run-{n}-last" for n in (1, 3, 28)}
    lines = [line for line in text.splitlines() if line.startswith(("cctr", "cps", "supervised"))]
    assert all((r"\textbf" in line) == line.startswith("cctr") for line in lines)
    assert any(r"$^{\approx}$" in line for line in lines if not line.startswith("cctr")) and "cannot be told apart" in text
    many = [cell(f"m{i}") for i in range(LONG + 1)]
    long = to_latex(leaderboard(make_records(many, [row for one in many for row in scores(one, {"a": 0.5, "b": 0.6})])))
    assert long.count(r"\begin{longtable}") == long.count(r"\endhead") == 1 and r"\begin{table}" not in long
    name = cell("方法[learning_rate=10,ema_decay=0.9]")
    foreign = to_latex(leaderboard(make_records([name], scores(name, {"a": 0.5}))))
    assert foreign.isascii() and "??[" in foreign and r",\allowbreak{}" in foreign and r"p{0.3\textwidth}" in foreign


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
def test_latex_compiles(grid, tmp_path, engine):
    if not shutil.which(engine):
        pytest.skip(f"needs {engine}")
    text = to_latex(leaderboard(grid), ties_of(fields(grid)))
    packages = "booktabs,longtable"
    body = (
        rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}\usepackage{{{packages}}}\begin{{document}}{text}\end{{document}}"
    )
    (tmp_path / "board.tex").write_text(body)
    done = subprocess.run([engine, "-interaction=nonstopmode", "board.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "too large" not in done.stdout, done.stdout[-2000:]


@pytest.mark.parametrize("width", [60, 40])
def test_a_narrow_terminal_has_fewer_columns_not_one_letter_a_line(grid, width):
    table = leaderboard(grid)
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width and len(text.splitlines()) < 3 * len(table) + 15
    assert "cctr[rsl=false]" in text and "no room here for Time" in text and "Time" not in printed(table, 40).splitlines()[2]
    assert "no room" not in printed(table, 100)


def test_a_run_that_predicts_nothing_is_called_so():
    runs = [cell(run=0), cell(run=1)]
    rows = scores(runs[0], {"a": 0.0, "b": 0.0}, missed=1.0) + scores(runs[1], {"a": 0.0, "b": 0.5})
    table = leaderboard(make_records(runs, rows))
    assert table["runs_collapsed"].tolist() == [1]
    assert "predicts nothing (every structure missed) in 1 of 2 runs" in printed(table, 200)
    assert leaderboard(make_records(runs, scores(runs[0], {"a": 0.0}) + scores(runs[1], {"a": 0.5})))[
        "runs_collapsed"
    ].tolist() == [0]


def test_cells_asked_for_and_not_run_are_shown_as_such():
    done = cell("cps")
    waiting = {k: v for k, v in failed(variant="cctr").items() if k != "error"} | {"outcome": "unfinished"}
    table = leaderboard(make_records([done, waiting], scores(done, {"a": 0.5})))
    row = table.set_index("variant").loc["cctr"]
    assert (row["runs_done"], row["runs_failed"], row["runs_unfinished"]) == (0, 0, 1)
    assert "to do" in printed(table) and "0/1" in to_markdown(table)


def test_reports_import_neither_torch_nor_monai():
    code = "import sys, benchmark.records.table, reports.writing.report; sys.exit(bool({'torch', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
