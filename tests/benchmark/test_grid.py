"""Selection grammar, budgets, and what makes two cells the same."""

from pathlib import Path

import pytest

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from benchmark.ground.rules import get_protocol
from benchmark.records.identity import Cell
from benchmark.study.grid import expand, parse_labels, parse_methods, parse_runs
from datasets.preparing import open_dataset


def test_names_and_overrides() -> None:
    cps, cctr = parse_methods("cps, cctr[rsl=false, reps=false]")
    assert cps.variant == "cps" and cps.hparams["exchange"] == 0.1
    assert cctr.variant == "cctr[rsl=false,reps=false]"
    assert cctr.hparams["rsl"] is False and cctr.hparams["contrastive"] is True


def test_a_default_written_out_is_the_same_selection() -> None:
    assert [s.variant for s in parse_methods("cctr[rsl=true],cctr")] == ["cctr"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cpps", ["'cpps'", "did you mean 'cps'", "supervised"]),
        ("cctr[rls=false]", ["cctr[rls=false]", "rsl", "reps"]),
        ("cctr[rsl]", ["'rsl'", "param=value"]),
        ("cctr[temperature=-1]", ["temperature", "greater than"]),
        ("mean_teacher[ema_decay=2]", ["ema_decay", "less than or equal to 1"]),
        ("cctr]", ["'cctr]'"]),
        ("", ["no method"]),
    ],
)
def test_bad_selections_say_what_is_wrong(text: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        parse_methods(text)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_budgets() -> None:
    assert parse_labels("1,3,7", 35) == [1, 3, 7]
    assert parse_labels("3,all,35", 35) == [3, 35]


@pytest.mark.parametrize("text", ["0", "999", "-1", "x", "1,,y", ""])
def test_bad_budgets_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--labels"):
        parse_labels(text, 35)


def test_runs() -> None:
    assert parse_runs(None, None, None) == [(0, 0)]
    assert parse_runs(3, None, None) == [(0, 0), (1, 1), (2, 2)]
    assert parse_runs(None, "0,2", "5,6") == [(0, 5), (0, 6), (2, 5), (2, 6)]
    with pytest.raises(BadInput, match="not both"):
        parse_runs(2, "0", None)
    with pytest.raises(BadInput, match="--runs: found 100000000; expected at most 10000"):
        parse_runs(10**8, None, None)
    with pytest.raises(BadInput, match="--draws"):
        parse_runs(None, "a", None)


def cell(**changes: object) -> Cell:
    values: dict[str, object] = {
        "dataset": "phantom",
        "data_hash": "d",
        "method": "cps",
        "variant": "cps",
        "hparams": {"exchange": 0.1},
        "labels": 1,
        "draw": 0,
        "seed": 0,
        "labelled": ("c01",),
        "protocol": get_protocol("smoke"),
    }
    return Cell.model_validate(values | changes)


def test_whole_comparisons_complete_early() -> None:
    dataset = open_dataset("phantom", None)
    cells = expand(dataset, parse_methods("supervised,cps"), [1, 3], [(0, 0), (1, 1)], get_protocol("smoke"), "")
    of_one_run = [("supervised", 1), ("cps", 1), ("supervised", 3), ("cps", 3)]
    assert [(one.draw, one.method, one.labels) for one in cells] == [(draw, *pair) for draw in (0, 1) for pair in of_one_run]


def test_identity_holds_what_changes_results_and_nothing_else() -> None:
    same = cell()
    assert same.id == cell(data=Path("elsewhere"), command="another command").id
    changes = [
        {"data_hash": "e"},
        {"method": "other"},
        {"hparams": {"exchange": 0.2}},
        {"draw": 1},
        {"seed": 1},
        {"labelled": ("c02",)},
        {"protocol": get_protocol("quick")},
    ]
    ids = {cell(**change).id for change in changes}
    assert len(ids) == len(changes) and same.id not in ids


def test_a_cell_read_back_from_disk_has_the_same_identity() -> None:
    written = cell(protocol=get_protocol("smoke").model_copy(update={"steps": 7}), command="x")
    assert Cell.model_validate_json(written.model_dump_json()).id == written.id


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "..", ""])
def test_a_name_that_leads_out_of_the_store_is_refused(name: str) -> None:
    for part in ("dataset", "method"):
        with pytest.raises(ValueError, match="pattern"):
            cell(**{part: name})
    with pytest.raises(BadInput, match="letters, digits"):
        register(name)
