"""The page: whole, harmless, the same for the same records, and what its rows and words say."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from benchmark.ground.errors import BadInput
from reports.page.columns import COLUMNS
from reports.page.rows import table_rows
from reports.page.words import in_words, of_collapsed, summary
from reports.tables.by_metric import by_metric
from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
from reports.tables.published import Published, published, published_for
from reports.tables.wording import signed
from reports.writing.report import write_report
from tests.reports.made_up_records import cell, failed, made_up, make_records, record, scores


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_everything_is_written(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert {"index.html", "leaderboard.csv", "metrics.csv", "leaderboard.md", "leaderboard.tex", "cases.parquet"} <= names
    for figure in (
        "label-efficiency",
        "cases",
        "against-supervised",
        "against-cctr",
        "classes",
        "runs",
        "ranks-1",
        "ranks-7",
        "cost",
        "training",
    ):
        assert (
            f"figures/phantom-quick-run-test-{figure}.png" in names and f"figures/phantom-quick-run-test-{figure}.svg" in names
        )
    assert "figures/acdc-quick-run-test-published.png" in names
    assert pd.read_parquet(written / "cases.parquet").equals(made_up().cases) or len(
        pd.read_parquet(written / "cases.parquet")
    ) == len(made_up().cases)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = made_up()
    part = records.select(records.cells["variant"].isin(["supervised", "cctr"]) & (records.cells["labels"] == 7))
    _, files = write_report(part, tmp_path / "a")
    write_report(part, tmp_path / "b")
    assert len(files) > 30
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes(), file.name


def test_rankings_labels_flips_and_a_paper_stand_in_the_report(written: Path) -> None:
    page = (written / "index.html").read_text(encoding="utf-8")
    assert (
        page.count("<details><summary>Show the table</summary>") == page.count("</details>") - 1 == 4
    )  # two datasets, tuned and not; and what the columns mean
    assert '<th scope="col">rank then mean</th>' in page and "would turn their order with a chance of" in page
    assert "= supervised with" in page and "= supervised (tuned) with" in page
    ranks, labels = (pd.read_csv(written / f"{name}.csv") for name in ("rankings", "label_equivalence"))
    assert len(ranks) == 2 * 2 * 6 * 6 and set(labels["most"]) == {7}
    assert {path.name for path in (written / "paper").iterdir()} >= {"paper.tex", "references.bib", "checklist.tex"}


def test_the_page_needs_nothing_from_anywhere(written: Path) -> None:
    page = (written / "index.html").read_text(encoding="utf-8")
    assert "@import" not in page and not re.findall(r"url\((?!#)", page) and not re.findall(r"""src=["'](?!data:)""", page)
    for link in re.findall(r"""href=["'](?!data:|#)([^"']+)["']""", page):  # to files of the report, of which nothing is shown
        assert (written / unquote(link)).is_file()
    assert len(page) < 4_000_000 and "<b>loss</b>" not in page and "&lt;b&gt;loss&lt;/b&gt;" in page


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    evil = cell("</script><script>alert(1)</script>", dataset="<img src=x onerror=alert(1)>")
    write_report(make_records([evil, cell("supervised", dataset=evil["dataset"])], scores(evil, {"a": 0.5})), tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<img src=x" not in page
    assert data_of(page)["rows"][0]  # and the table still has it
    assert {path.parent for path in (tmp_path / "figures").iterdir()} == {tmp_path / "figures"}


def test_rows_hold_what_the_leaderboard_and_the_comparison_say() -> None:
    records = made_up()
    lines = [
        line
        for selection in ("last", "val")
        for line in table_rows(
            by_metric(records, "supervised", selection),
            "supervised",
            leaderboard(records, selection),
            list(fields(records, selection)),
        )
    ]
    rows = pd.DataFrame(lines, columns=[column.key for column in COLUMNS])
    mean = rows[
        (rows["class"] == "mean") & (rows["selection"] == "last") & (rows["dataset"] == "phantom") & (rows["labels"] == 7)
    ]
    mean = mean.set_index("method")
    assert mean.loc["cctr", "ranks"].startswith("1 (") and mean.loc["cctr", "better"] == 1.0
    assert mean.loc["cctr", "shift_value"] == pytest.approx(0.24, abs=0.06) and pd.isna(mean.loc["supervised", "shift"])
    assert mean.loc["cctr (tuned)", "tuning"] == "20 trials, 8000 steps, 30 min"
    assert mean.loc["cctr (tuned)", "shift_value"] == pytest.approx(0.08, abs=0.06)  # against the tuned baseline
    classes = rows[(rows["method"] == "cctr") & (rows["selection"] == "val") & (rows["labels"] == 1)]
    assert set(classes["class"]) == {"mean", "rv", "myo", "lv"} and set(classes["used"]) == {"1 + 4 val"}
    assert "not comparable: protocol quick" in set(rows["verdict"])


def test_words_say_what_one_run_cannot_and_call_nothing_a_tie() -> None:
    few = [cell(f"m{i}", 1) for i in range(4)]
    rows = [row for i, one in enumerate(few) for row in scores(one, {c: 0.5 + 0.1 * i for c in "abcd"})]
    (line,) = in_words(list(fields(make_records(few, rows))), "m0")
    assert "nothing can be tested: one run" in line and "cannot be tested, one run" in line and "better" not in line
    many = [cell(name, 1, run) for name in ("supervised", "cctr") for run in range(5)]
    rng = np.random.default_rng(1)
    rows = [
        r
        for one in many
        for r in scores(one, {f"c{i:02}": 0.4 + 0.3 * (one["variant"] == "cctr") + rng.normal(0, 0.02) for i in range(12)})
    ]
    (line,) = in_words(list(fields(make_records(many, rows))), "supervised")
    assert "1 better (cctr), 0 worse." in line and "5 runs" in line and "First cctr, second supervised" in line


def test_published_numbers_are_compared_only_where_they_can_be() -> None:
    assert len(published()) > 30 and {p.confidence for p in published()} == {"read", "secondary", "unchecked"}
    row = SimpleNamespace(
        dataset="acdc", variant="bcp", labels=3, kind="run", protocol="paper", selection="val", test_set="test"
    )
    row.draw0_runs, row.draw0_dsc, row.draw0_sd, row.runs_unconverged = 3, 0.87, 0.01, 0
    (claim,) = published_for(row)
    assert isinstance(claim, Published) and claim.dsc == 87.59 and claim.verdict(row) == "within reach of one more run"
    row.runs_unconverged = 1
    assert claim.verdict(row) == "not comparable: not converged"
    row.runs_unconverged = 0
    reach = 4.3027 * 0.01 * np.sqrt(1 + 1 / 3)  # of t with 2 degrees of freedom
    for row.draw0_dsc, said in (
        (0.8759 + reach - 1e-5, "within reach of one more run"),
        (0.8759 + reach + 1e-5, "higher"),
        (0.8759 - reach - 1e-5, "lower"),
    ):
        assert claim.verdict(row) == said
    row.draw0_runs, row.draw0_sd = 1, float("nan")
    assert claim.verdict(row) == "no verdict: one run of draw 0"
    row.draw0_runs = 0
    assert claim.verdict(row).startswith("not comparable: draw 0")
    row.test_set = "official"
    assert claim.verdict(row) == "not comparable: test set official"
    row.test_set, row.protocol = "test", "quick"
    assert claim.verdict(row) == "not comparable: protocol quick"
    row.protocol, row.selection = "paper", "last"
    assert claim.verdict(row) == "not comparable: selection val"
    for row.variant, said in (("mc_net", "MC-Net, two decoders"), ("ema_self_training", "BCP without its mixing")):
        for row.selection in ("val", "last"):
            assert published_for(row)[0].verdict(row) == f"another variant: {said}" and said in str(published_for(row)[0])
    row.variant, row.labels, row.selection = "supervised", 1, "val"
    assert not published_for(row)[0].matches  # of 300 iterations
    row.labels = 3
    assert [p.dsc for p in published_for(row)] == [47.8, 41.5]  # surest is the oracle's, which is not comparable
    row.variant, row.labels = "mcsc", 1
    assert published_for(row)[0].verdict(row).startswith("not comparable: the number is unchecked")
    row.kind = "tuned"
    assert published_for(row) == []


def test_all_published_numbers_stand_beside_a_row_and_draw_0_alone_is_judged() -> None:
    """Draws 0 (seeds 0 and 1) and 1: the row's mean is over both, the verdict of draw 0, which hits the number."""
    cells = [
        cell("supervised", 3, dataset="acdc", protocol="paper")
        | {"cell": f"{d}{s}", "draw": d, "seed": s, "draw_hash": f"w{d}"}
        for d, s in ((0, 0), (0, 1), (1, 0))
    ]
    levels = {"00": 0.46, "01": 0.49, "10": 0.9}
    rows = [r for c in cells for r in scores(c, {"x": levels[c["cell"]], "y": levels[c["cell"]] + 0.01}, selection="val")]
    records = make_records(cells, rows)
    line = dict(
        zip(
            [c.key for c in COLUMNS],
            table_rows(by_metric(records, "supervised", "val"), "supervised", leaderboard(records, "val"), [])[0],
            strict=True,
        )
    )
    assert (
        line["verdict"] == "within reach of one more run"
        and line["published"].startswith("47.8 (")
        and "; 41.5 (" in line["published"]
    )


def test_ranks_and_verdicts_of_one_run_claim_nothing() -> None:
    cells = [cell(name, 1) for name in ("supervised", "cctr")]
    rows = [r for c in cells for r in scores(c, {f"c{i}": 0.5 + 0.3 * (c["variant"] == "cctr") + 0.01 * i for i in range(9)})]
    records = make_records(cells, rows)
    line = dict(
        zip(
            [c.key for c in COLUMNS],
            table_rows(by_metric(records, "supervised"), "supervised", leaderboard(records), list(fields(records)))[0],
            strict=True,
        )
    )
    assert line["method"] == "cctr" and line["ranks"] == "1 (one run)" and line["judged"] == "cannot be tested: one run"
    assert line["better"] is None and line["shift"] == "+30.0 (+30.0 to +30.0 cases only)" and "cases only" in line["interval"]


def words_of(page: Path) -> str:
    """What the page says, without figures and data."""
    return re.sub(
        r"<svg.*?</svg>|<style.*?</style>|<script.*?</script>|<[^>]+>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )


def test_a_store_with_trials_alone_is_a_page_on_tuning(tmp_path: Path) -> None:
    about = {"looks": [(500, 0.5)], "steps_done": 500, "validation_last": 0.5}
    trials = [
        record(cell=f"t{n}", variant=f"t{n}", kind="trial", trial=trial(n), hparams={"a": 0.5 + 0.1 * n}, **about)
        for n in (0, 1)
    ]
    board, files = write_report(make_records(trials), tmp_path)
    said = words_of(tmp_path / "index.html")
    assert board.empty and "The store holds 2 trials of tuning and no run" in said and "There is no run to list" in said
    assert "cctr, 3 labelled, phantom: 2 trials, a line each; on the validation cases best DSC % 50.0 with a=0.5" in said
    assert {"studies.csv", "trials.csv", "index.html"} <= {file.name for file in files}


def trial(number: int) -> dict[str, Any]:
    return {
        "study": "s", "of": "cctr", "number": number, "sampler": "tpe", "searched": {"a": {"low": 0.1, "high": 1.0, "log": True}}
    }  # fmt: skip


def test_stores_of_failures_of_one_cell_and_of_nothing_say_what_is_so(tmp_path: Path) -> None:
    write_report(make_records([failed(), failed(labels=7)]), tmp_path / "failures")
    said = words_of(tmp_path / "failures" / "index.html")
    assert "No run is done, so there is no score and nothing is compared" in said and "RuntimeError: loss is nan" in said
    assert "Methods that train have" not in said and "What the data can say" not in said
    with pytest.raises(BadInput, match="nothing to report"):
        write_report(make_records([]), tmp_path / "nothing")


def test_the_tuned_baseline_counts_as_one_and_a_missing_one_is_said() -> None:
    tuned = [cell(f"{name} (tuned)", kind="tuned") for name in ("supervised", "cctr")]
    rows = [row for one in tuned for row in scores(one, {"a": 0.5, "b": 0.6})]
    assert summary(make_records(tuned, rows), "supervised")[-1].startswith("Comparisons are with supervised (tuned)")
    alone = [cell("cctr"), cell("cps")]
    assert summary(make_records(alone, []), "supervised")[-1] == "supervised has not run, so nothing is compared with it."


def test_collapsed_runs_are_called_so_in_rows_and_words() -> None:
    cells = [cell(name, 1, run) for name in ("supervised", "cctr") for run in range(2)]
    rows = [r for one in cells for r in scores(one, {c: 0.0 for c in "abc"}, missed=1.0)]
    records = make_records(cells, rows)
    board = leaderboard(records)
    lines = table_rows(by_metric(records, "supervised"), "supervised", board, list(fields(records)))
    notes = [dict(zip([c.key for c in COLUMNS], line, strict=True))["note"] for line in lines]
    assert notes[0] == "predicts nothing (every structure missed) in 2 of 2 runs"
    assert all("predicts nothing" in sentence for sentence in of_collapsed(board)) and len(of_collapsed(board)) == 2


def test_nothing_has_no_sign() -> None:
    assert [signed(value, 1) for value in (-0.04, 0.04, -0.06, 1.0)] == ["0.0", "0.0", "-0.1", "+1.0"]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one cell, one of whose figures cannot be drawn."""

    def fails(*_: Any) -> None:
        raise ValueError("no such colour")

    out, one = (
        tmp_path_factory.mktemp("single"),
        cell("supervised", 1, ended="2026-11-20T10:00:00+00:00", machine="NVIDIA H200, Linux"),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("reports.figures.section.every_case", fails)
        write_report(make_records([one], scores(one, {"a": 0.5, "b": 0.6})), out)
    return out


def test_a_store_of_one_cell_says_so(single: Path) -> None:
    said = words_of(single / "index.html")
    assert "1 method or variant on phantom with 1 labelled case, protocol quick: 1 cell done in 1 run" in said
    assert "Only supervised has run, so there is nothing to compare it with." in said


def test_a_figure_that_fails_takes_nothing_with_it(single: Path) -> None:
    assert "This figure could not be drawn (ValueError: no such colour)." in words_of(single / "index.html")
    assert (single / "figures" / "phantom-quick-run-test-classes.svg").is_file()


def test_the_colophon_says_where_numbers_come_from(single: Path) -> None:
    said = words_of(single / "index.html")
    for text in ("2026-11-20T10:00:00", "NVIDIA H200, Linux", "@misc{thisbenchmark,", "ssl-medseg-benchmark", "metrics.csv"):
        assert text in said


def test_time_of_several_machines_says_so() -> None:
    cells = [cell("cctr", 1, run, machine=name) for run, name in enumerate(["cpu", "NVIDIA H200"])]
    records = make_records(cells, [row for one in cells for row in scores(one, {"a": 0.5, "b": 0.6})])
    line = table_rows(by_metric(records, "supervised"), "supervised", leaderboard(records), [])[0]
    assert dict(zip([c.key for c in COLUMNS], line, strict=True))["time"] == "60 s (2 machines)"
