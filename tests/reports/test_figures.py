"""The label-efficiency figure: what it shows, and that the same records give the same bytes."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.figures.label_efficiency import label_efficiency
from reports.figures.registration_gain import registration_gain
from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
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


def test_gain_is_drawn_against_registration_alone() -> None:
    on, off = {"rsl": True, "reps": False}, {"rsl": False, "reps": False}
    levels = {"supervised": 0.4, "label_propagation": 0.5, "cctr": 0.6, "cps": 0.45}
    cells = [cell(v, 1, run, hparams=on if v in ("cctr", "label_propagation") else off) for v in levels for run in range(2)]
    steps = {"supervised": 0.0, "label_propagation": 0.05, "cctr": 0.02, "cps": 0.01}
    rows = []
    for one in cells:
        level, step = levels[one["variant"]], steps[one["variant"]]
        rows += scores(one, {f"c{i}": level + step * i for i in range(5)})
    records = make_records(cells, rows)
    found = list(fields(records))
    figure = registration_gain(found, records, "supervised")
    assert figure is not None
    (dots,) = [line for line in figure.axes[0].lines if line.get_label().startswith("rho")]  # of cctr alone
    assert dots.get_label() == "rho +1.00"
    assert np.asarray(dots.get_xdata()) == pytest.approx([50, 55, 60, 65, 70])
    assert np.asarray(dots.get_ydata()) == pytest.approx([20, 22, 24, 26, 28])
    without = records.select(records.cells["variant"] != "label_propagation")
    assert registration_gain(list(fields(without)), without, "supervised") is None
