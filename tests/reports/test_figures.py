"""Figures: what they show, one look for a method in all, nothing cut, and that the same records give the same bytes."""

import re
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest

from reports.figures.numbers import Numbers
from reports.figures.ranking import ranking
from reports.figures.registration_gain import registration_gain
from reports.figures.scores import by_run, every_case
from reports.figures.section import drawings
from reports.figures.style import COLOURS, NAME, STYLE, fold, look, numbers_of, rendered
from reports.figures.svg import SVG
from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
from reports.writing.figures import drawn
from reports.writing.leaderboard import write_label_efficiency
from tests.reports.made_up_records import cell, failed, make_records, scores


def test_the_same_records_give_the_same_files(grid, tmp_path):
    table = leaderboard(grid)
    first, second = write_label_efficiency(table, tmp_path / "a"), write_label_efficiency(table, tmp_path / "b")
    assert [path.suffix for path in first] == [".png", ".svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert not re.search(r"<dc:date>", first[1].read_text())


def shown_texts(svg):
    """The words of a figure."""
    return ["".join(text.itertext()) for text in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_facets_budgets_and_variants_are_named(tmp_path):
    runs = [cell("cps", n, dataset=name) for name in ("phantom", "acdc") for n in (1, 28)]
    rows = [row for run in runs for row in scores(run, {"a": 0.5, "b": 0.6})]
    runs += [failed(variant="cctr", labels=1), failed(variant="cctr", labels=28) | {"outcome": "unfinished", "error": None}]
    files = write_label_efficiency(leaderboard(make_records(runs, rows)), tmp_path)
    names = [f"label_efficiency-{name}-quick-run-test.{form}" for name in ("acdc", "phantom") for form in ("png", "svg")]
    assert [file.name for file in files] == names
    texts = shown_texts(files[3])
    assert {"1", "28 (all)", "cps"} <= set(texts) and "cctr (failed at 1; to do at 28)" in " ".join(texts)


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
    figure = registration_gain(found, records, "supervised", numbers_of(levels))
    assert figure is not None
    (dots,) = [line for line in figure.axes[0].lines if line.get_label().startswith("rho")]  # of cctr alone
    assert dots.get_label() == "rho +1.00"
    assert np.asarray(dots.get_xdata()) == pytest.approx([50, 55, 60, 65, 70])
    assert np.asarray(dots.get_ydata()) == pytest.approx([20, 22, 24, 26, 28])
    without = records.select(records.cells["variant"] != "label_propagation")
    assert registration_gain(list(fields(without)), without, "supervised", numbers_of(levels)) is None


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


SEEN = {  # Machado et al. 2009, severity 1
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ rgb.clip(0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_stand_out_from_white_and_from_each_other_for_all_eyes() -> None:
    for colour in COLOURS:
        assert 1.05 / (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05) >= 3, colour
    for matrix in SEEN.values():
        seen = [lab(np.array(matrix) @ linear(colour)) for colour in COLOURS]
        assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 20
    looks = [tuple(look(number).values()) for number in range(70)]
    assert len(set(looks)) == 70


def methods(svg) -> dict[str, set[str]]:
    """By method, the colours of its marks in a figure; not of its name."""
    found: dict[str, set[str]] = {}
    for group in svg.iter(f"{{{SVG}}}g"):
        if group.get("data-method") and not list(group.iter(f"{{{SVG}}}text")):
            styles = " ".join(part.get("style") or "" for part in group.iter())
            found.setdefault(group.get("data-method", ""), set()).update(re.findall(r"stroke: (#\w{6})", styles))
    return found


LONG = "mean_teacher[learning_rate=10,ema_decay=0.9,consistency=0.1]"


@pytest.fixture(scope="module")
def crowd():
    """25 methods, some with names of 60 letters, two runs: figures as SVG, and the names."""
    names = ["supervised", *(f"method{i:02}" for i in range(20)), *(f"{LONG[:-2]}{i}]" for i in range(4))]
    cells, rows = [], []
    for place, name in enumerate(names):
        for run in range(2):
            cells.append(cell(name, 3, run, looks=[[100, 0.2], [400, 0.5]]))
            rows += scores(cells[-1], {f"c{i}": 0.3 + 0.02 * place + 0.01 * i + 0.005 * run for i in range(5)}, volumes=1)
    records = make_records(cells, rows)
    board, found, drawn = leaderboard(records), list(fields(records)), {}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        for drawing in drawings(found, records, board, "supervised", numbers_of(names)):
            if drawing.name in ("label-efficiency", "cases", "cost", "training"):
                figure = drawing.draw()
                figure.set_dpi(20)  # of the PNG, which is not looked at
                drawn[drawing.name] = ElementTree.fromstring(rendered(figure)[".svg"])
    return drawn, set(names)


@pytest.mark.parametrize(("figure", "width"), [("label-efficiency", 28), ("cases", NAME), ("cost", 40), ("training", 40)])
def test_no_name_is_cut_and_nothing_warns_with_25_methods_of_60_letters(crowd, figure, width) -> None:
    svg, names = crowd[0][figure], crowd[1]
    assert len(names) == 25 and max(map(len, names)) == 60
    wide, high = (float(size) for size in svg.get("viewBox", "").split()[2:])
    shown = {"".join(text.itertext()) for text in svg.iter(f"{{{SVG}}}text")}
    for name in names - ({"supervised"} if figure == "label-efficiency" else set()):
        lines = fold(name, width).split("\n")
        assert "".join(lines) == name and set(lines) <= shown, name
    for text in svg.iter(f"{{{SVG}}}text"):
        assert -1 <= float(text.get("x", 0)) <= wide + 1 and -1 <= float(text.get("y", 0)) <= high + 1


def test_a_method_looks_the_same_in_every_figure(crowd) -> None:
    numbers, seen = numbers_of(crowd[1]), set()
    for figure in ("label-efficiency", "cost", "training"):
        for method, colours in methods(crowd[0][figure]).items():
            assert colours == {look(numbers[method])["color"]}, (figure, method)
            seen.add(method)
    assert seen == set(numbers)


def small(values):
    """Methods with these DSC, one case, a run each."""
    cells = [cell(name, run=run) for name, runs in values.items() for run in range(len(runs))]
    of = {(name, run): value for name, runs in values.items() for run, value in enumerate(runs)}
    rows = [row for one in cells for row in scores(one, {c: of[one["variant"], one["draw"]] for c in "ab"})]
    return list(fields(make_records(cells, rows)))


def numbers_in(axes) -> list[str]:
    (numbers,) = (artist for artist in axes.artists if isinstance(artist, Numbers))
    return [each.text for each in numbers.each]


def test_a_score_of_0_is_a_number_and_what_has_not_run_is_hatched() -> None:
    figure = by_run(small({"a": [0.5, 0.6], "b": [0.0]}))
    assert sorted(numbers_in(figure.axes[0])) == ["0", "50", "60"]
    assert [patch.get_hatch() for patch in figure.axes[0].patches] == ["////"]


def test_the_map_of_pairs_says_direction_points_and_p() -> None:
    rng = np.random.default_rng(0)
    cells = [cell(name, run=run) for name in ("good", "poor") for run in range(4)]
    rows = [
        r
        for c in cells
        for r in scores(c, {f"c{i}": 0.4 + 0.3 * (c["variant"] == "good") + rng.normal(0, 0.01) for i in range(8)})
    ]
    (field,) = fields(make_records(cells, rows))
    right = ranking(field).axes[1]
    assert numbers_in(right) == [f"{100 * field.pairs[0, 1].value:+.1f}", "<.001"]
    assert right.images[0].get_array().tolist() == [[3, 2], [0, 3]]  # itself, better; worse, itself


def test_marks_say_what_they_are_and_panels_what_is_to_be_seen() -> None:
    with mpl.rc_context(STYLE):
        svg = ElementTree.fromstring(rendered(every_case(small({"a": [0.5, 0.7], "b": [0.25, 0.25]})))[".svg"])
    titles = {title.text for title in svg.iter(f"{{{SVG}}}title")}
    assert {"a, a: 60.0 %", "a, b: 60.0 %", "a: mean 60.0 %", "b: mean 25.0 %"} <= titles
    (panel,) = [group for group in svg.iter(f"{{{SVG}}}g") if group.get("data-box")]
    assert panel[0].text == "3 labelled: mean DSC a 60.0 %, b 25.0 %; worst case 25 % by b."


def test_a_figure_that_fails_is_a_sentence(tmp_path) -> None:
    def fails():
        raise ValueError("no such thing")

    files, shown = drawn(fails, "what it would show", tmp_path / "figure")
    assert not files and "could not be drawn (ValueError: no such thing)" in shown["failed"]
    assert drawn(lambda: None, "", tmp_path / "figure") is None
