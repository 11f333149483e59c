"""Effects against factorials whose effects are known."""

import numpy as np
import pytest

from benchmark.records.ablations import Ablation, Design, remember, remembered
from benchmark.records.store import Store
from reports.tables.ablation import contrast, effects, terms, to_markdown
from reports.writing.ablation import write_ablation
from reports.writing.report import write_report
from tests.reports.made_up_records import cell, make_records, scores

TWO = Design(
    "cctr",
    {"rsl": ("false", "true"), "reps": ("false", "true")},
    {"none": ("false", "false"), "reps": ("false", "true"), "rsl": ("true", "false"), "both": ("true", "true")},
)


def records(means, runs=3, cases=12, noise=0.0, labels=(1,), missing=()):
    """Cells of a factorial with mean DSC ``means`` (variant to value), and a case and a run effect that all variants share."""
    rng = np.random.default_rng(0)
    cells, rows = [], []
    for budget in labels:
        for run in range(runs):
            shared = rng.normal(0, 0.1, cases) + rng.normal(0, 0.05)
            for variant, mean in means.items():
                if (variant, run) in missing:
                    continue
                cells.append(cell(variant, budget, run))
                values = mean + shared + rng.normal(0, noise, cases)
                rows += scores(cells[-1], {f"case{i}": value for i, value in enumerate(values)}, hd95=10 - 5 * mean)
    return make_records(cells, rows)


def by_term(table):
    return table.set_index("term")


def test_effects_of_two_factors_by_hand():
    """rsl adds .2 alone and .3 beside reps: main effect .25, interaction .1; shared case and run effects cancel."""
    table = by_term(effects(records({"none": 0.3, "reps": 0.35, "rsl": 0.5, "both": 0.65}), TWO))
    assert list(table.index) == ["rsl", "reps", "rsl x reps"]
    assert table["dsc"].to_numpy() == pytest.approx([0.25, 0.10, 0.10])
    assert table["dsc_low"].to_numpy() == pytest.approx([0.25, 0.10, 0.10])  # no noise: no width
    assert table["hd95"].to_numpy() == pytest.approx([-1.25, -0.5, -0.5])
    assert set(table["runs"]) == {3} and set(table["cases"]) == {12}


def test_intervals_cover_effects_that_are_there_and_zero_where_none_is():
    table = by_term(effects(records({"none": 0.4, "reps": 0.4, "rsl": 0.55, "both": 0.55}, runs=5, cases=30, noise=0.05), TWO))
    assert table.loc["rsl", "dsc_low"] > 0.1 and table.loc["rsl", "dsc_low"] < 0.15 < table.loc["rsl", "dsc_high"]
    for term in ("reps", "rsl x reps"):
        assert table.loc[term, "dsc_low"] < 0 < table.loc[term, "dsc_high"]


def test_levels_count_from_the_first_one():
    design = Design(
        "cctr", {"kind": ("identity", "affine", "deformable")}, {"i": ("identity",), "a": ("affine",), "d": ("deformable",)}
    )
    table = by_term(effects(records({"i": 0.2, "a": 0.3, "d": 0.5}), design))
    assert table["dsc"].to_dict() == pytest.approx({"kind=affine": 0.1, "kind=deformable": 0.3})


def test_three_factors_equal_the_definition():
    rng = np.random.default_rng(1)
    values = rng.random((2, 3, 2, 4, 5))
    design = Design("m", {"a": ("false", "true"), "b": ("x", "y", "z"), "c": ("false", "true")}, {})
    found = {name: contrast(values, term) for name, term in terms(design)}
    assert list(found) == [
        "a",
        "b=y",
        "b=z",
        "c",
        "a x b=y",
        "a x b=z",
        "a x c",
        "b=y x c",
        "b=z x c",
        "a x b=y x c",
        "a x b=z x c",
    ]
    assert np.allclose(found["a"], values[1].mean((0, 1)) - values[0].mean((0, 1)))
    by_hand = sum((values[1, 2, c] - values[0, 2, c] - values[1, 0, c] + values[0, 0, c]) / 2 for c in range(2))
    assert np.allclose(found["a x b=z"], by_hand)
    triple = values[1, 1] - values[0, 1] - values[1, 0] + values[0, 0]
    assert np.allclose(found["a x b=y x c"], triple[1] - triple[0])


def test_a_run_counts_only_when_every_variant_is_there():
    means = {"none": 0.3, "reps": 0.35, "rsl": 0.5, "both": 0.65}
    assert set(effects(records(means, missing={("rsl", 1)}), TWO)["runs"]) == {2}
    assert effects(records(means, runs=1, missing={("rsl", 0)}), TWO).empty


def test_files_of_an_ablation(tmp_path):
    found = records({"none": 0.3, "reps": 0.35, "rsl": 0.5, "both": 0.65}, noise=0.02, labels=(1, 3))
    names = [path.name for path in write_ablation(found, TWO, tmp_path)[0]]
    assert names == ["effects.csv", "effects.md", *(f"{n}.{s}" for n in ("interactions", "waterfall") for s in ("png", "svg"))]
    text = (tmp_path / "effects.md").read_text()
    assert "| 1 | rsl | +2" in text and "rsl: false, true (baseline false)" in text
    first = (tmp_path / "waterfall.png").read_bytes()
    write_ablation(found, TWO, tmp_path)
    assert (tmp_path / "waterfall.png").read_bytes() == first
    one = Design("cctr", {"rsl": ("false", "true")}, {"none": ("false",), "rsl": ("true",)})
    assert "interactions.png" not in [path.name for path in write_ablation(found, one, tmp_path / "one")[0]]


def test_nothing_complete_is_said():
    assert "Effects are differences" in to_markdown(effects(make_records([cell()]), TWO), TWO, "mm")


def test_what_a_store_remembers_of_an_ablation_stands_in_the_report(tmp_path):
    ablation = Ablation("phantom", "quick", TWO)
    for name in ("one", "two"):
        remember(ablation, Store(tmp_path / name))
    known = remembered(Store(tmp_path / "one"), Store(tmp_path / "two"), Store(tmp_path / "none"), tell=pytest.fail)
    assert known == [ablation]
    found = records({"none": 0.3, "reps": 0.35, "rsl": 0.5, "both": 0.65}, labels=(1, 3))
    _, files = write_report(found, tmp_path / "out", "none", known)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "What the parts of cctr do, phantom, protocol quick" in page and ">+25.0</td>" in page
    assert {"effects.csv", "interactions.png", "waterfall.png"} <= {file.name for file in files}
