"""Equal trials for all, the published values first, the same whatever interrupts, and no way to the test set."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from benchmark.cell.experiment import run_cell
from benchmark.ground.errors import BadInput
from benchmark.ground.rules import get_protocol
from benchmark.records.identity import Cell, Trial
from benchmark.records.store import CellFolder, Store
from benchmark.records.table import collect
from benchmark.study.grid import expand, parse_methods
from benchmark.study.tuned import tuned
from benchmark.study.tuning import ATTEMPTS, ROUND, tune
from datasets.dataset import Dataset
from datasets.preparing import open_dataset
from reports.tables.tuning import trials_of
from reports.writing.tuning import write_tuning
from tests.benchmark.imagined_trials import make, pretend, protocol, results, spaces, tried
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("acdc")
    acdc_slices(path)
    return path


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return open_dataset("acdc", folder)


def without_study(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "study"} for row in rows]


def test_every_method_gets_its_trials_the_published_values_first_and_none_twice(dataset: Dataset, tmp_path: Path) -> None:
    ran: list[Cell] = []
    tuner = make(dataset, tmp_path)
    tune(tuner, pretend(tmp_path, ran))
    assert len(ran) == 20 and len({cell.id for cell in ran}) == 20 and all(cell.kind == "trial" for cell in ran)
    for study, row in zip(tuner.studies, results(tuner), strict=True):
        assert row["trials"] == 10 and row["failed"] == 0
        assert study.study.get_trials()[0].params == study.space.published
        assert row["published"] == pytest.approx(0.9 - np.log(3) / 10) and row["best"] >= row["published"]
        assert row["best"] == max(t.value for t in study.study.get_trials())


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interruption_changes_nothing_of_what_is_tried(dataset: Dataset, tmp_path: Path, sampler: str) -> None:
    whole = make(dataset, tmp_path / "whole", sampler=sampler)
    tune(whole, pretend(tmp_path / "whole"))
    for stop in (1, 2):
        part = make(dataset, tmp_path / "part", sampler=sampler)
        for _ in range(stop):
            cells = part.cells()
            some = dict(list(cells.items())[:3])  # the process dies after three cells, before it could tell
            pretend(tmp_path / "part")(list(some.values()))
    again = make(dataset, tmp_path / "part", sampler=sampler)
    tune(again, pretend(tmp_path / "part"))
    assert tried(again) == tried(whole) and without_study(results(again)) == without_study(results(whole))


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-7], lambda c: c[:200] + b"\x00" + c[201:], lambda c: c + b"\0" * 9, lambda c: b"\xff"]
)
def test_a_damaged_journal_is_set_aside_and_the_records_answer_again(
    dataset: Dataset, tmp_path: Path, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make(dataset, tmp_path, trials=6)
    tune(whole, pretend(tmp_path))
    journal = tmp_path / "tuning" / "journal.log"
    journal.write_bytes(damage(journal.read_bytes()))
    again = make(dataset, tmp_path, trials=6)
    assert "journal.log.damaged-" in capsys.readouterr().err and list(journal.parent.glob("journal.log.damaged-*"))
    ran: list[Cell] = []

    tune(again, pretend(tmp_path, ran))
    assert not ran and tried(again) == tried(whole)
    assert make(dataset, tmp_path, trials=6).cells() == {}


def test_a_trial_whose_files_were_damaged_runs_again(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, trials=6, methods="supervised")
    ran: list[Cell] = []
    tune(tuner, pretend(tmp_path, ran))
    before = tried(tuner)
    for cell in (ran[1], ran[5]):
        (Store(tmp_path).folder(cell).path / "record.json").write_text("[]")
    again: list[Cell] = []
    tune(make(dataset, tmp_path, trials=6, methods="supervised"), pretend(tmp_path, again))
    assert [cell.id for cell in again] == [ran[1].id, ran[5].id]
    assert tried(make(dataset, tmp_path, trials=6, methods="supervised")) == before
    assert all(Store(tmp_path).folder(cell).done() for cell in ran)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_lock_is_told_as_such(
    dataset: Dataset, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = make(dataset, tmp_path, trials=2, methods="supervised")

    def refuse(target: str, link: str) -> None:
        raise OSError(number, os.strerror(number), link)

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(OSError) as error:
        tuner.cells()
    assert error.value.errno == number


def test_samplers_differ_and_methods_share_the_seeds_of_random_search(dataset: Dataset, tmp_path: Path) -> None:
    found = {}
    for sampler in ("tpe", "random"):
        tuner = make(dataset, tmp_path / sampler, trials=24, sampler=sampler, methods="supervised,entropy_min")
        tune(tuner, pretend(tmp_path / sampler))
        found[sampler] = tried(tuner)
    assert found["tpe"][0] != found["random"][0]
    late = [np.log(trial["learning_rate"] / 3) for trial in found["tpe"][0][12:]]
    early = [np.log(trial["learning_rate"] / 3) for trial in found["random"][0][12:]]
    assert np.abs(late).mean() < np.abs(early).mean(), "what was found guides what is tried"


def test_a_lost_worker_s_trial_comes_again_and_fails_after_some_attempts(dataset: Dataset, tmp_path: Path) -> None:
    lost: dict[str, int] = {}

    def lose(cell: Cell) -> bool:
        lost[cell.id] = lost.get(cell.id, 0) + 1
        return list(lost).index(cell.id) == 1 or (list(lost).index(cell.id) == 2 and lost[cell.id] == 1)

    tuner = make(dataset, tmp_path, trials=5, methods="supervised")
    tune(tuner, pretend(tmp_path, lose=lose))
    (row,) = results(tuner)
    assert (row["trials"], tuner.failed()) == (4, 1)
    assert sorted(lost.values()) == [1, 1, 1, 2, ATTEMPTS] and ROUND == 4


def test_tuned_cells_take_the_best_of_their_own_trials(dataset: Dataset, tmp_path: Path) -> None:
    tuner = make(dataset, tmp_path, methods="supervised,mean_teacher[rsl=true]")
    tune(tuner, pretend(tmp_path))
    bases = [study.space.base for study in tuner.studies]
    cells = expand(dataset, bases, [1], [(0, 0)], get_protocol("smoke"), "")
    for before, after, row in zip(cells, tuned(cells, Store(tmp_path)), results(tuner), strict=True):
        assert after.kind == "tuned" and after.variant == f"{before.variant} (tuned)" and after.id != before.id
        assert {name: after.hparams[name] for name in row["hparams"]} == pytest.approx(row["hparams"], rel=1e-3)
    (plain,) = [cell.model_copy(update={"hparams": cell.hparams | {"rsl": False}}) for cell in cells[1:]]
    with pytest.raises(BadInput, match="holds no finished trial of mean_teacher"):
        tuned([plain], Store(tmp_path))


def noisy_tests(folder: Path, target: Path) -> Path:
    """A copy of the dataset whose test volumes are noise."""
    shutil.copytree(folder, target)
    for name in (target / "test.list").read_text().split():
        with h5py.File(target / "data" / f"{name}.h5", "r+") as file:
            rng = np.random.default_rng(0)
            file["image"][...] = rng.random(file["image"].shape)
            file["label"][...] = rng.integers(0, 4, file["label"].shape)
    return target


def test_tuning_cannot_see_the_test_set(folder: Path, tmp_path: Path) -> None:
    found = []
    for name, data in (("true", folder), ("noise", noisy_tests(folder, tmp_path / "noisy"))):
        store = Store(tmp_path / name)
        tuner = make(open_dataset("acdc", data), store.root, "supervised", protocol(150), trials=3)
        tune(tuner, lambda cells, store=store: sum(run_cell(cell, store, "cpu") != "done" for cell in cells))
        assert all(not list(CellFolder(f.path).path.glob("*test*")) for f in store.folders())
        (row,) = results(tuner)
        found.append((tried(tuner), row["published"], row["best"], row["hparams"]))
        for cell_folder in store.folders():
            table = (cell_folder.path / "cases.csv").read_text()
            assert "validation" in table and "patient011" not in table and "patient028" in table
    assert found[0] == found[1] and found[0][2] > 0


def test_pruned_trials_give_their_steps_to_further_trials_and_the_budget_stays_equal(dataset: Dataset, tmp_path: Path) -> None:
    ran: list[Cell] = []
    tuner = make(dataset, tmp_path, trials=12, pruner="median")
    tune(tuner, pretend(tmp_path, ran))
    trials = trials_of(collect(Store(tmp_path)))
    assert all(cell.trial and bool(cell.trial.prune_below) == (cell.trial.number >= ROUND) for cell in ran)
    for row, study in zip(results(tuner), tuner.studies, strict=True):
        assert row["pruned"] > 0 and row["trials"] > 12 and 12 * 20 - 20 < row["steps"] <= 12 * 20
        assert [t.state.name == "PRUNED" for t in study.study.get_trials()] == list(
            trials.loc[trials["study"] == row["study"], "outcome"] == "pruned"
        )
    for study, part in trials.groupby("study"):
        early = part[part["number"] < ROUND]["score"] / 2  # of the first round, at half of training
        second = part[(part["number"] >= ROUND) & (part["number"] < 2 * ROUND)]
        halves = second["score"] * np.where(second["outcome"] == "pruned", 1, 0.5)
        assert ((halves < early.median()) == (second["outcome"] == "pruned")).all(), study
    bases = [study.space.base for study in tuner.studies]
    for cell in tuned(expand(dataset, bases, [1], [(0, 0)], get_protocol("smoke"), ""), Store(tmp_path)):
        assert cell.tuning is not None and cell.tuning.trials > 12 and cell.tuning.steps <= 240


def test_a_pruned_cell_ends_where_its_score_is_below(dataset: Dataset, tmp_path: Path) -> None:
    ended = []
    for below in (((10, 2.0),), ((10, -1.0), (20, 2.0))):
        (cell,) = expand(dataset, parse_methods("supervised"), [1], [(0, 0)], get_protocol("smoke"), "")
        trial = Trial(study="s", of="supervised", number=5, sampler="tpe", searched={}, prune_below=below)
        cell = cell.model_copy(update={"trial": trial})
        assert run_cell(cell, Store(tmp_path), "cpu") == "done"
        record = Store(tmp_path).folder(cell).record() or {}
        ended.append((record["steps_done"], [step for step, _ in record["looks"]]))
    assert ended == [(10, [10]), (20, [10, 20])]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_report_of_trials_is_written_from_records_alone(dataset: Dataset, tmp_path: Path, sampler: str) -> None:
    tune(make(dataset, tmp_path / "store", sampler=sampler, pruner="median"), pretend(tmp_path / "store"))
    shutil.rmtree(tmp_path / "store" / "tuning")
    files, _ = write_tuning(collect(Store(tmp_path / "store")), tmp_path / "out")
    assert len(files) == 2 + 2 + 2 * 2 and all(file.stat().st_size > 100 for file in files)
    again, _ = write_tuning(collect(Store(tmp_path / "store")), tmp_path / "again")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]
    trials = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert set(trials["outcome"]) == {"done", "pruned"} and trials["hparams"].str.contains("learning_rate").all()


def test_what_cannot_be_tuned_is_said() -> None:
    with pytest.raises(BadInput, match="label_propagation has nothing to tune"):
        spaces("label_propagation")
    (space,) = spaces("mean_teacher[consistency=0.5]")
    assert "consistency" not in space.ranges and "rsl_weight" not in space.ranges and "ema_decay" in space.ranges


@pytest.mark.slow
def test_the_command_tunes_runs_the_tuned_and_reports_both_tracks(folder: Path, tmp_path: Path) -> None:
    shared = ["--dataset", "acdc", "--data", folder, "--protocol", "smoke", "--store", tmp_path, "--tracking", "none"]

    def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"NO_COLOR": "1", "COLUMNS": "160"},
            check=False,
        )

    methods = ["--methods", "supervised,entropy_min", "--labels", "1"]
    early = bench("run", *shared, *methods, "--hparams", "tuned")
    assert early.returncode == 2 and "run `tune` first" in early.stderr
    result = bench("tune", *shared, *methods, "--trials", "3")
    assert result.returncode == 0 and result.stdout.count("  3") >= 2 and "entropy_min" in result.stdout, result.stderr
    ran = bench("run", *shared, *methods)
    both = bench("run", *shared, *methods, "--hparams", "tuned")
    assert ran.returncode == both.returncode == 0, both.stderr
    board = bench("report", "--store", tmp_path).stdout
    for name in ("supervised", "supervised (tuned)", "entropy_min", "entropy_min (tuned)"):
        assert re.search(rf"^ +1 {re.escape(name)} +\d", board, re.MULTILINE), board
    assert "learning_rate" not in board


def test_a_worker_killed_in_the_middle_costs_no_trial(folder: Path, tmp_path: Path) -> None:
    shared = ["--dataset", "acdc", "--data", folder, "--protocol", "smoke", "--store", tmp_path, "--tracking", "none"]
    arguments = ["tune", *shared, "--methods", "supervised,entropy_min", "--labels", "1", "--trials", "6", "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    while len(list(tmp_path.rglob(".done"))) < 3 and process.poll() is None:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(int(workers[0]), signal.SIGKILL)
    process.communicate(timeout=200)
    records = [folder.record() or {} for folder in Store(tmp_path).folders()]
    assert process.returncode == 0 and Counter((r["method"], r["outcome"]) for r in records) == {
        ("supervised", "done"): 6,
        ("entropy_min", "done"): 6,
    }
