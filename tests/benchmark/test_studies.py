"""Typed spaces, studies that are brought in line with the store, pruning by Hyperband, objectives, warm starts and transfer."""

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import optuna
import pytest
from pydantic import BaseModel

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.ranges import contains, distribution, ends, place, ranges_of, rounded
from benchmark.ground.stopping import Stopped, parse_time, time_limit
from benchmark.records.identity import Cell
from benchmark.records.store import Store
from benchmark.records.table import collect
from benchmark.study.grid import expand
from benchmark.study.pruning import floors, rungs_of
from benchmark.study.tuned import parse_hparams, parse_objectives, parse_starts, tuned, warm_starts
from benchmark.study.tuning import ROUND, Search, Tuner, tune
from datasets.dataset import Dataset
from datasets.preparing import open_dataset
from methods import tunable
from reports.tables.tuning import studies_of, transfers_of, trials_of
from reports.writing.tuning import write_tuning
from tests.benchmark.imagined_trials import make, pretend, protocol, results, spaces, tried
from tests.datasets.layouts import acdc_slices

METHOD = '''"""A method with a parameter of each type, for tests of tuning, 2026."""

from typing import ClassVar, Literal

from pydantic import model_validator

from methods import OneNetwork, register, tunable


@register("typed")
class Typed(OneNetwork):
    """Typed."""

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("weight",)
        weight: float = tunable(0.1, low=0.01, high=1, log=True, doc="a weight")
        views: int = tunable(2, low=1, high=5, doc="how many", minimum=1)
        sharp: bool = tunable(False, doc="a switch")
        distance: Literal["mse", "kl", "dice"] = tunable("mse", doc="which")
        # more

    def extra(self, view, batch, step):
        return {"weight": self.hp.weight * view.logits.mean() ** 2}
'''
RULE = """
        @model_validator(mode="after")
        def _together(self):
            if self.sharp and self.views > 2:
                raise ValueError("sharp takes two views at most")
            return self
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("acdc")
    acdc_slices(path)
    return open_dataset("acdc", path)


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the method ``typed`` known, with changes to its source, each in a file of its own."""
    count = iter(range(100))

    def write(*changes: tuple[str, str]) -> None:
        text = METHOD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / f"typed{next(count)}_{tmp_path.name}.py"
        file.write_text(text)
        registry._registered.pop("typed", None)
        monkeypatch.setenv(registry.PLUGINS, str(file))

    return write


def test_each_type_has_its_space(dataset: Dataset, tmp_path: Path, typed: Callable[..., None]) -> None:
    typed()
    ran: list[Cell] = []
    tuner = make(dataset, tmp_path / "s", "typed", trials=16, sampler="random")
    tune(tuner, pretend(tmp_path / "s", ran))
    found = [cell.hparams for cell in ran]
    assert len(found) == 16 and found[0] | {"sharp": False, "views": 2, "distance": "mse", "weight": 0.1} == found[0]
    assert {type(h["views"]) for h in found} == {int} and {h["views"] for h in found} > {1, 5}
    assert {h["sharp"] for h in found} == {False, True} and {h["distance"] for h in found} == {"mse", "kl", "dice"}
    assert all(0.01 <= h["weight"] <= 1 and h["weight"] == float(f"{h['weight']:.4g}") for h in found)
    kinds = {name: type(d).__name__ for name, d in tuner.studies[0].study.get_trials()[3].distributions.items()}
    assert Counter(kinds.values()) == {"FloatDistribution": 2, "IntDistribution": 1, "CategoricalDistribution": 2}
    assert tried(make(dataset, tmp_path / "s", "typed", trials=16, sampler="random")) == tried(tuner)
    files, _ = write_tuning(collect(Store(tmp_path / "s")), tmp_path / "report")
    assert any("typed-1" in file.name and file.suffix == ".png" for file in files)


@pytest.mark.parametrize(
    ("kind", "field", "what"),
    [
        (float, tunable(1.0, doc="x"), "without low and high"),
        (str, tunable("a", doc="x"), "expected a number with low and high, a bool or a Literal"),
        (int, tunable(2, low=1.5, high=3, doc="x"), "whole ones of an int"),
        (int, tunable(2, low=0, high=3, log=True, doc="x"), "above 0 where it is log"),
        (float, tunable(2.0, low=3, high=1, doc="x"), "low < high"),
        (bool, tunable(True, low=0, high=1, doc="x"), "all values of its type"),
        (int | None, tunable(2, low=1, high=3, doc="x"), "expected a number"),
    ],
)
def test_what_is_no_range_is_said(kind: type, field: object, what: str) -> None:
    schema = type("Hparams", (BaseModel,), {"__annotations__": {"x": kind}, "x": field})
    with pytest.raises(BadInput, match=what):
        ranges_of(schema)


def test_a_range_knows_its_values() -> None:
    schema = type("H", (BaseModel,), {"__annotations__": {"n": Literal[16, 32, 64]}, "n": tunable(32, doc="x")})
    numbers = ranges_of(schema)["n"]
    assert numbers == {"choices": [16, 32, 64]} and contains(numbers, 32) and not contains(numbers, 33)
    narrow = {"low": 0.9, "high": 0.99999, "log": False}
    assert rounded(narrow, 0.999989) == 0.99999, "rounding stays inside"
    assert place(numbers, 32) == 0.5 and place({"low": 1, "high": 100, "log": True}, 10) == pytest.approx(0.5)
    for found in (numbers, narrow, {"low": 1, "high": 8, "log": True, "whole": True}):
        assert all(contains(found, end) for end in ends(found)) and not distribution(found).single()


def test_a_range_that_its_field_refuses_is_said_before_anything_is_written(
    dataset: Dataset, tmp_path: Path, typed: Callable[..., None]
) -> None:
    typed(("high=5", "high=5, maximum=3"))
    with pytest.raises(BadInput, match=r"typed\[views=5\] is in the range that is searched, and refused"):
        make(dataset, tmp_path / "s", "typed")
    assert not (tmp_path / "s").exists()
    typed(("tunable(2, low=1, high=5", "tunable(2, low=3, high=5"))
    with pytest.raises(BadInput, match=r"default of typed\[views=2\] is outside of its range"):
        make(dataset, tmp_path / "s", "typed")
    typed()  # corrected: all is well
    tuner = make(dataset, tmp_path / "s", "typed", trials=4)
    tune(tuner, pretend(tmp_path / "s"))
    assert results(tuner)[0]["trials"] == 4


def test_draws_that_the_method_refuses_are_written_nowhere(
    dataset: Dataset, tmp_path: Path, typed: Callable[..., None]
) -> None:
    typed(("        # more\n", RULE))
    tuner = make(dataset, tmp_path / "s", "typed", trials=16, sampler="random")
    tune(tuner, pretend(tmp_path / "s"))
    (study,) = tuner.studies
    states = [trial.state.name for trial in study.study.get_trials()]
    assert states == ["COMPLETE"] * 16 and any(values["sharp"] for values in tried(tuner)[0])
    assert all(not values["sharp"] or values["views"] <= 2 for values in tried(tuner)[0])
    typed(("        # more\n", RULE.replace("self.sharp and self.views > 2", "self.weight != 0.1")))
    hopeless = make(dataset, tmp_path / "s", "typed", trials=16)
    with pytest.raises(BadInput, match="draws in the ranges were refused"):
        tune(hopeless, pretend(tmp_path / "s"))
    assert [trial.number for trial in hopeless.studies[0].known()] == [0], "the published values alone were asked for"


def test_a_changed_space_is_another_study_and_the_old_one_is_kept(
    dataset: Dataset, tmp_path: Path, typed: Callable[..., None]
) -> None:
    typed()
    before = make(dataset, tmp_path / "s", "typed", trials=5)
    tune(before, pretend(tmp_path / "s"))
    for change in (("low=0.01, high=1", "low=0.09, high=0.2"), ("low=0.01, high=1, log=True", "low=0.01, high=1")):
        typed(change)
        ran: list[Cell] = []
        changed = make(dataset, tmp_path / "s", "typed", trials=5)
        tune(changed, pretend(tmp_path / "s", ran))
        assert changed.names() != before.names() and len(ran) == 5
    typed()
    again = make(dataset, tmp_path / "s", "typed", trials=5)
    assert again.names() == before.names() and again.cells() == {}
    assert make(dataset, tmp_path / "s", "typed", trials=5, startup=3).names() != before.names()


def outcomes(tuner: Tuner) -> list[str]:
    return [trial.outcome for trial in tuner.studies[0].known()]


def test_failed_trials_are_run_again_by_the_same_command_once(dataset: Dataset, tmp_path: Path) -> None:
    first = make(dataset, tmp_path, "supervised", trials=6)
    tune(first, pretend(tmp_path, fail=lambda cell: cell.trial is not None and cell.trial.number in (1, 5)))
    assert first.failed() == 2 and outcomes(first)[1] == "failed"
    ran: list[Cell] = []
    second = make(dataset, tmp_path, "supervised", trials=6)
    tune(second, pretend(tmp_path, ran, fail=lambda cell: cell.trial is not None and cell.trial.number == 5))
    assert [cell.trial and cell.trial.number for cell in ran] == [1, 5] and second.failed() == 1
    third = make(dataset, tmp_path, "supervised", trials=6)
    tune(third, pretend(tmp_path, again := []))
    assert len(again) == 1 and third.failed() == 0 and outcomes(third) == ["done"] * 6
    states = Counter(trial.state.name for trial in third.studies[0].study.get_trials())
    assert states == {"COMPLETE": 6, "FAIL": 2}, "what failed before stays visible"
    assert third.studies[0].study.best_value == results(third)[0]["best"]


def test_what_ran_elsewhere_in_the_meantime_is_told(dataset: Dataset, tmp_path: Path) -> None:
    first = make(dataset, tmp_path, "supervised", trials=4)
    tune(first, pretend(tmp_path, fail=lambda cell: True))
    cells = [trial.cell for trial in first.studies[0].known()]
    pretend(tmp_path)(cells)  # as `retry --failed` does
    second = make(dataset, tmp_path, "supervised", trials=8)
    tune(second, pretend(tmp_path, ran := []))
    assert second.failed() == 0 and len(ran) == 4, "the second round alone"
    shutil.rmtree(Store(tmp_path).folder(cells[2]).path)
    third = make(dataset, tmp_path, "supervised", trials=8)
    tune(third, pretend(tmp_path, lost := []))
    assert [cell.id for cell in lost] == [cells[2].id] and outcomes(third) == ["done"] * 8


def test_a_lost_study_is_made_again_from_the_store(dataset: Dataset, tmp_path: Path) -> None:
    first = make(dataset, tmp_path, "supervised", trials=10, pruner="median")
    tune(first, pretend(tmp_path, fail=lambda cell: cell.trial is not None and cell.trial.number == 2))
    second = make(dataset, tmp_path, "supervised", trials=10, pruner="median")
    tune(second, pretend(tmp_path))
    before = [(trial.cell.id, trial.outcome) for trial in second.studies[0].known()]
    shutil.rmtree(tmp_path / "tuning")
    again = make(dataset, tmp_path, "supervised", trials=10, pruner="median")
    tune(again, pretend(tmp_path, ran := []))
    assert not ran and [(trial.cell.id, trial.outcome) for trial in again.studies[0].known()] == before


def test_optuna_s_tools_find_what_they_show(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=12, pruner="median")
    tune(tuner, pretend(tmp_path))
    (study,) = tuner.studies
    trials = study.study.get_trials()
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    for trial, known in zip(trials, study.known(), strict=True):
        about = trial.user_attrs
        assert about["cell"] == known.cell.id and about["seconds"] == 1.0 and about["steps"] == known.steps
        assert trial.intermediate_values == dict(known.looks) and trial.datetime_complete is not None
        far = 100 if known.cell.hparams["learning_rate"] > 1 else 10
        assert trial.state.name == "PRUNED" or about["hd95"] == pytest.approx(far * (1 - trial.value))
    assert study.study.metric_names == ["validation dsc"]


def test_a_result_is_told_as_soon_as_it_is_there(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=4)
    first, second, *_ = tuner.cells().values()
    tuner.hear(first)
    pretend(tmp_path)([second])
    tuner.hear(second)
    states = [trial.state.name for trial in tuner.studies[0].study.get_trials()]
    assert states == ["RUNNING", "COMPLETE", "RUNNING", "RUNNING"] and tuner.lost == {}


def test_hyperband_counts_steps_and_prunes_by_brackets(dataset: Dataset, tmp_path: Path) -> None:
    rules = protocol(90, 9)
    assert rungs_of(rules) == [10, 30] and rungs_of(protocol(100, 3)) == [33]
    with pytest.raises(BadInput, match="looks at the validation cases 2 times"):
        make(dataset, tmp_path, "supervised", pruner="hyperband")
    tuner = make(dataset, tmp_path, "supervised", rules, trials=20, pruner="hyperband")
    tune(tuner, pretend(tmp_path))
    (row,) = results(tuner)
    known = tuner.studies[0].known()
    assert 20 * 90 - 90 < row["steps"] <= 20 * 90 and row["pruned"] > 0 and row["trials"] > 20
    asked = {trial.number: [step for step, _ in (trial.cell.trial.prune_below if trial.cell.trial else ())] for trial in known}
    late = {number % 3: steps for number, steps in asked.items() if number >= 16}
    assert late == {0: [10, 30], 1: [30], 2: []}, "a bracket for each rung and one without"
    assert all(trial.outcome == "done" for trial in known if trial.number % 3 == 2 or trial.number < ROUND)


def test_hyperband_lets_the_best_third_go_on() -> None:
    looks = {number: {10: number / 100} for number in range(0, 27, 3)}  # nine of bracket 0: 0.00 to 0.24
    assert floors("hyperband", 27, looks, protocol(90, 9), ROUND) == ((10, 0.18),)
    assert floors("hyperband", 28, looks, protocol(90, 9), ROUND) == ()
    assert floors("median", 28, looks, protocol(90, 9), ROUND) == ((10, 0.12),)


def test_distances_are_made_small(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=12, objectives=("hd95",))
    tune(tuner, pretend(tmp_path))
    (study,), (row,) = tuner.studies, results(tuner)
    best = study.study.best_trial
    assert study.study.direction.name == "MINIMIZE" and row["objective"] == "hd95" and row["best"] == best.value
    assert best.params["learning_rate"] <= 1 and best.value == min(t.value for t in study.study.get_trials() if t.value)
    bases = [study.space.base]
    cells = expand(dataset, bases, [1], [(0, 0)], protocol(), "")
    (cell,) = tuned(cells, Store(tmp_path))
    assert cell.hparams["learning_rate"] == best.params["learning_rate"]
    by_dsc = make(dataset, tmp_path, "supervised", trials=12)
    tune(by_dsc, pretend(tmp_path))
    with pytest.raises(BadInput, match=r"searched for dsc and for hd95; say which, such as tuned:dsc"):
        tuned(cells, Store(tmp_path))
    (distance,), (overlap,) = (tuned(cells, Store(tmp_path), objective) for objective in ("hd95", "dsc"))
    assert distance.hparams == cell.hparams and overlap.hparams["learning_rate"] > 1
    assert distance.tuning == overlap.tuning


def test_two_objectives_have_a_front(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=24, objectives=("hd95", "dsc"), sampler="nsga2")
    tune(tuner, pretend(tmp_path))
    (study,) = tuner.studies
    trials = trials_of(collect(Store(tmp_path)))
    front = set(trials.loc[trials["front"], "number"])
    assert front == {trial.number for trial in study.study.best_trials} and 1 < len(front) < 24
    generations = {t.system_attrs.get("NSGAIISampler:generation") for t in study.study.get_trials()} - {None}
    assert len(generations) > 1, "what was found guides what is tried"
    again = make(dataset, tmp_path, "supervised", trials=24, objectives=("hd95", "dsc"), sampler="nsga2")
    assert again.cells() == {}
    names = [file.name for file in write_tuning(collect(Store(tmp_path)), tmp_path / "out")[0]]
    assert any(name.endswith("-front.png") for name in names)
    with pytest.raises(BadInput, match="--pruner median goes by the DSC"):
        Search(4, pruner="median", objectives=("dsc", "hd95")).check(protocol())


def test_words_of_objectives_and_hparams() -> None:
    assert parse_objectives("hd95, dsc") == ("hd95", "dsc")
    for text in ("", "dice", "dsc,dsc", "dsc,nsd,hd95", "dsc;nsd"):
        with pytest.raises(BadInput, match="--objective"):
            parse_objectives(text)
    assert parse_hparams("published") == (False, None) and parse_hparams("tuned:hd95") == (True, "hd95")
    for text in ("", "best", "tuned:", "tuned:dice", "published:dsc"):
        with pytest.raises(BadInput, match="--hparams"):
            parse_hparams(text)
    assert parse_starts("3, acdc,3") == ("3", "acdc") and parse_starts(None) == ()
    for text in ("", "a b", "3;4"):
        with pytest.raises(BadInput, match="--warm-start"):
            parse_starts(text)


def both_budgets(dataset: Dataset, store: Path, **search: object) -> Tuner:
    both = [*spaces("supervised", 1), *spaces("supervised", 2)]
    return Tuner(dataset, both, protocol(), Search(**({"trials": 8} | search)), Store(store), "c")  # type: ignore[arg-type]


def test_a_search_may_begin_with_what_another_budget_found(dataset: Dataset, tmp_path: Path) -> None:
    tune(make(dataset, tmp_path, "supervised", trials=8), pretend(tmp_path))
    mine = spaces("supervised", 2)
    given = warm_starts(mine, ("1", "2"), "acdc", protocol(), Store(tmp_path))
    best = studies_of(trials_of(collect(Store(tmp_path)))).iloc[0]["hparams"]
    assert given == [[best]]
    tuner = Tuner(dataset, mine, protocol(), Search(6, starts=("1", "2")), Store(tmp_path), "c", given)
    tune(tuner, pretend(tmp_path))
    assert tried(tuner)[0][1] == best and results(tuner)[0]["trials"] == 6, "it is one of the trials"
    with pytest.raises(BadInput, match="holds no trial of supervised with 1 labelled cases of phantom"):
        warm_starts(spaces("supervised"), ("phantom",), "acdc", protocol(), Store(tmp_path))


def test_what_tuning_is_worth_at_another_budget(dataset: Dataset, tmp_path: Path) -> None:
    def worth(cell: Cell) -> float:
        rate = cell.hparams["learning_rate"]
        return 0.5 + (0.3 if (rate > 1) == (cell.labels == 1) else 0) - abs(rate - 1) / 100

    tuner = both_budgets(dataset, tmp_path)
    tune(tuner, pretend(tmp_path, score=worth))
    before = studies_of(trials_of(collect(Store(tmp_path))))
    cells = tuner.transfers()
    assert [(cell.trial and cell.trial.found_at, cell.labels) for cell in cells] == [(1, 2), (2, 1)]
    pretend(tmp_path, score=worth)(cells)
    trials = trials_of(collect(Store(tmp_path)))
    rows = transfers_of(trials).set_index("tuned_at")
    assert rows["used_at"].to_dict() == {1: 2, 2: 1} and (rows["score"] < rows["best"] - 0.2).all()
    assert studies_of(trials).equals(before), "they are trials of no study"
    (cell,) = tuned(expand(dataset, [tuner.studies[1].space.base], [2], [(0, 0)], protocol(), ""), Store(tmp_path))
    assert cell.tuning is not None and cell.tuning.trials == 8
    assert tmp_path / "out" / "transfers.csv" in write_tuning(collect(Store(tmp_path)), tmp_path / "out")[0]
    assert both_budgets(dataset, tmp_path).cells() == {}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)])
def test_times_are_understood(text: str, seconds: float) -> None:
    assert parse_time("--timeout", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "h", "-1", "1e3", "5 weeks", "nan", "1" * 50])
def test_no_times_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--timeout"):
        parse_time("--timeout", text)


def test_a_search_ends_when_its_time_is_up_and_goes_on_later(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=8)

    def slowly(cells: list[Cell]) -> int:
        pretend(tmp_path)(cells)
        return signal.raise_signal(signal.SIGALRM) or 0

    with time_limit(100) as over:
        tune(tuner, slowly, over)
    assert over() and results(tuner)[0]["trials"] == 4
    with time_limit(100) as over:
        raise Stopped(signal.SIGALRM)  # while cells run
    assert over() and signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    with pytest.raises(Stopped), time_limit(100):
        raise Stopped(signal.SIGINT)
    with time_limit(0.01) as over:
        time.sleep(0.05)
    assert over()
    with time_limit(None) as over:
        tune(make(dataset, tmp_path, "supervised", trials=8), pretend(tmp_path), over)
    assert not over() and results(tuner)[0]["trials"] == 8


@pytest.mark.parametrize(
    ("storage", "what"),
    [
        ("/srv/opt.db", "expected a URL, of a file sqlite:////srv/opt.db"),
        ("sqlite:////nowhere/at/all.db", "check the address"),
        ("nosuchdb://host/db", "--storage: nosuchdb://host/db cannot be used"),
        ("mysql+nosuchdriver://host/db", "--storage: mysql"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(dataset: Dataset, tmp_path: Path, storage: str, what: str) -> None:
    with pytest.raises(BadInput, match=what) as error:
        make(dataset, tmp_path, "supervised", storage=storage)
    assert "\n" not in str(error.value)


def test_a_storage_that_fails_on_the_way_is_one_sentence(dataset: Dataset, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'o.db'}"
    tuner = make(dataset, tmp_path / "s", "supervised", storage=url)
    tune(tuner, pretend(tmp_path / "s"))
    optuna.delete_study(study_name=tuner.names()[0], storage=url)
    (tmp_path / "o.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BadInput, match=r"--storage: sqlite:///.* cannot be used"):
        make(dataset, tmp_path / "s", "supervised", storage=url, trials=20).cells()


def test_records_of_before_there_were_objectives_are_read(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, "supervised", trials=3)
    tune(tuner, pretend(tmp_path))
    now = results(tuner)
    for folder in Store(tmp_path).folders():
        record = json.loads((folder.path / "record.json").read_text())
        del record["trial"]["objectives"], record["trial"]["found_at"]
        cell = json.loads((folder.path / "cell.json").read_text())
        del cell["trial"]["objectives"], cell["trial"]["found_at"]
        assert Cell(**cell).id == record["cell"], "cells keep their ids"
        cases = (folder.path / "cases.csv").read_text()
        folder.finish({"record.json": json.dumps(record), "cell.json": json.dumps(cell), "cases.csv": cases})
    assert results(tuner) == now
