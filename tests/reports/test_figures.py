"""The label-efficiency figure: what it shows, and that the same records give the same bytes."""

import re
from xml.etree import ElementTree

from reports.figures import label_efficiency
from reports.leaderboard import leaderboard
from tests.reports.made_up_records import cell, failed, make_records, scores


def test_the_same_records_give_the_same_files(grid, tmp_path):
    table = leaderboard(grid)
    first, second = label_efficiency(table, tmp_path / "a"), label_efficiency(table, tmp_path / "b")
    assert [path.suffix for path in first] == [".png", ".svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert not re.search(r"<dc:date>", first[1].read_text())


def shown_texts(svg):
    """The words of a figure."""
    return ["".join(text.itertext()) for text in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_facets_budgets_and_variants_are_named(tmp_path):
    runs = [cell("cps", n, dataset=name) for name in ("phantom", "acdc") for n in (1, 28)]
    rows = [row for run in runs for row in scores(run, {"a": 0.5, "b": 0.6})]
    runs.append(failed(variant="cctr", labels=1))
    texts = shown_texts(label_efficiency(leaderboard(make_records(runs, rows)), tmp_path / "figure")[1])
    assert {"acdc: test, protocol quick", "phantom: test, protocol quick", "1", "28 (all)", "cps"} <= set(texts)
    assert "cctr (failed at 1)" in texts
