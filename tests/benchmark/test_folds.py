"""Cross-validation: every labelled case is test once and never in its own training; records and statistics know of it."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmark.cell.experiment import dataset_of, run_cell, training_volumes
from benchmark.ground.errors import BadInput
from benchmark.ground.rules import get_protocol
from benchmark.launchers.site import Site
from benchmark.records.folds import as_runs
from benchmark.records.identity import Cell
from benchmark.records.store import CellFolder, Store
from benchmark.records.table import collect
from benchmark.study.grid import expand, parse_methods
from benchmark.study.session import Session
from datasets.dataset import Dataset, Split, Volume
from datasets.draws import labelled_cases
from datasets.folds import fewest_training, fold_split, folds_of
from datasets.phantom import generate
from datasets.preparing import open_dataset, prepare
from reports.statistics.random_effects import combination, overlap_of_folds, run_spread
from reports.tables.comparison import fields
from reports.tables.leaderboard import leaderboard
from tests.datasets.layouts import write_nifti


class Named(Dataset):
    """Labelled cases by name alone, none of them a chosen test case."""

    name, classes, channels, spacing_known = "named", ("background", "organ"), 1, True

    def __init__(self, split: Split, chosen: bool = False) -> None:
        super().__init__()
        self._split, self._chosen = split, chosen

    @property
    def split(self) -> Split:
        return self._split

    @property
    def has_test_set(self) -> bool:
        return self._chosen

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        raise NotImplementedError

    def content_hash(self) -> str:
        return ""


def named(cases: int, blank: int = 0) -> Named:
    train = tuple(f"c{i}" for i in range(cases))
    return Named(Split(train, (), {}, tuple(f"u{i}" for i in range(blank))))


@settings(max_examples=60, deadline=None)
@given(cases=st.integers(2, 40), blank=st.integers(0, 3), data=st.data())
def test_every_labelled_case_is_test_once_and_never_trains_its_own_fold(cases: int, blank: int, data: st.DataObject) -> None:
    dataset = named(cases, blank)
    asked = data.draw(st.sampled_from(["loo", *map(str, range(2, cases + 1))]))
    folds = folds_of(dataset, asked)
    assert folds == (cases if asked == "loo" else int(asked))
    splits = [fold_split(dataset, (number, folds)) for number in range(folds)]
    tests = [case for split in splits for case in split.tests["folds"]]
    assert sorted(tests) == sorted(dataset.split.train)
    sizes = [len(split.tests["folds"]) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    budget = data.draw(st.integers(1, fewest_training(dataset, folds)))
    for split in splits:
        assert {*split.train} | {*split.tests["folds"]} == {*dataset.split.train} and not split.val
        assert split.unlabelled == dataset.split.unlabelled
        drawn = labelled_cases("named", split.train, budget, data.draw(st.integers(0, 9)))
        assert len(drawn) == budget and not {*drawn, *split.train} & {*split.tests["folds"]}
    shuffled = Named(Split(dataset.split.train[::-1], (), {}, dataset.split.unlabelled))
    assert fold_split(shuffled, (0, folds)) == splits[0]


def test_folds_take_what_names_alone_made_test_and_no_chosen_test_case() -> None:
    split = Split(("a", "b"), ("c",), {"test": ("d",)})
    assert folds_of(Named(split), "loo") == 4 and folds_of(Named(split), None) is None
    with pytest.raises(BadInput, match=r"--folds: named has a test set \(1 cases\); expected data without one"):
        folds_of(Named(split, chosen=True), "loo")
    with pytest.raises(BadInput, match=r"has 7 labelled cases and no test case.*--folds loo"):
        folds_of(named(7), None)
    for wrong in ("1", "8", "x", "-2", "", "1e1"):
        with pytest.raises(BadInput, match=r"--folds: found .* expected loo, or a number from 2 to 7"):
            folds_of(named(7), wrong)


CASES, UNLABELLED = [f"case{number:03}" for number in range(1, 5)], "case005"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Cell], Path]:
    """Four labelled cases, one unlabelled, and two methods that ran over all folds."""
    root = tmp_path_factory.mktemp("folds")
    rows = []
    for case in [*CASES, UNLABELLED]:
        volume = generate(case)[0]
        assert volume.label is not None
        write_nifti(root / "data" / f"{case}.nii.gz", np.round(volume.image[0].T * 4095).astype(np.int16), volume.spacing)
        if case != UNLABELLED:
            write_nifti(root / "data" / f"{case}_seg.nii.gz", volume.label.T, volume.spacing)
        rows.append([case, f"{case}.nii.gz", "" if case == UNLABELLED else f"{case}_seg.nii.gz", "train"])
    with open(root / "data" / "cases.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case", "image", "label", "split"], *rows])
    store = Store(root / "store")
    raw = open_dataset("folder", root / "data")
    dataset = prepare("folder", root / "data", store.datasets)
    assert not raw.has_test_set and not dataset.has_test_set and folds_of(dataset, "loo") == 4
    cells = expand(dataset, parse_methods("supervised,label_propagation"), [2], [(0, 0)], get_protocol("smoke"), "", 4)
    assert len({cell.id for cell in cells}) == 8
    for cell in cells:
        assert run_cell(cell, store, "cpu") == "done"
    return store, cells, root


def test_no_case_is_in_its_own_training(done: tuple[Store, list[Cell], Path]) -> None:
    store, cells, _ = done
    tested: dict[str, set[str]] = {}
    for cell in cells:
        dataset = dataset_of(cell, store)
        table = pd.read_csv(store.folder(cell).path / "cases.csv")
        mine = set(table["case"])
        trained = {volume.case for volume in training_volumes(dataset, cell.labelled)}
        assert len(mine) == 1 and set(table["test_set"]) == {"folds"}
        assert not mine & trained and not mine & {*cell.labelled} and UNLABELLED in trained and len(trained) == 4
        assert not tested.setdefault(cell.method, set()) & mine
        tested[cell.method] |= mine
    assert tested == {"supervised": set(CASES), "label_propagation": set(CASES)}


def test_folds_are_one_run_in_records_and_tables(done: tuple[Store, list[Cell], Path]) -> None:
    store, cells, _ = done
    records = collect(store)
    assert list(records.cells["outcome"]) == ["done"] * 2 and set(records.cells["dataset"]) == {"folder-in-4-folds"}
    assert len(records.of_cells({cells[0].id}).cells) == 1
    retried = Session([cells[0]], store.root, Site(), "none", Console(file=io.StringIO()))
    assert list(retried.records().cells["outcome"]) == ["done"]  # with the folds that it did not run
    table = leaderboard(records).set_index("variant")
    long = pd.concat(pd.read_csv(store.folder(cell).path / "cases.csv").assign(method=cell.method) for cell in cells)
    long = long[(long["selection"] == "last") & (long["metric"] == "dsc")]
    for method, mean in long.groupby("method")["value"].mean().items():
        row = table.loc[method]
        assert row["dsc"] == pytest.approx(mean) and row["cases"] == 4 and row["runs_done"] == 1 and row["test_set"] == "folds"
        by_case = long[long["method"] == method].groupby("case")["value"].mean()
        reach = 3.182446 * by_case.std(ddof=1) * np.sqrt((1 + 4 / 3) / 4)  # t of 3 degrees of freedom
        assert row["dsc_high"] == pytest.approx(min(1.0, mean + reach), abs=1e-6)
    assert long.groupby(["method", "case"])["value"].mean().std() > 0
    (field,) = fields(records)
    assert field.folds == 4 and field.cases == tuple(CASES)


def test_a_fold_that_is_missing_or_failed_keeps_the_run_from_being_done(done: tuple[Store, list[Cell], Path]) -> None:
    store, _, _ = done
    rows = [CellFolder(folder.path).read_record() | {"kept": False} for folder in store.folders()]
    mine = [row for row in rows if row["method"] == "supervised"]
    assert [row["outcome"] for row in as_runs(mine)[0]] == ["done"]
    assert [row["outcome"] for row in as_runs(mine[:3])[0]] == ["unfinished"]
    broken = [*mine[:3], mine[3] | {"outcome": "failed", "error": "boom"}]
    assert [(row["outcome"], row["error"]) for row in as_runs(broken)[0]] == [("failed", "boom")]
    assert as_runs([{"fold": None, "cell": "a"}]) == ([{"fold": None, "cell": "a"}], {})


def test_identity_without_folds_is_what_it_was(done: tuple[Store, list[Cell], Path]) -> None:
    _, cells, _ = done
    plain = cells[0].model_copy(update={"fold": None})
    assert '"fold"' not in plain.model_dump_json() and '"fold":[0,4]' in cells[0].model_dump_json() and plain.id != cells[0].id
    assert Cell.model_validate_json(cells[0].model_dump_json()).id == cells[0].id


def test_statistics_know_that_folds_share_training_data() -> None:
    """The factor of Nadeau and Bengio: over K folds the variance of a mean is (1/K + 1/(K-1)) of one fold's, not 1/K."""
    scores = np.random.default_rng(0).normal(0.8, 0.05, (1, 1, 7))
    for folds in (2, 5, 7):
        apart = combination(scores, np.ones(1), run_spread(scores.mean(2)))
        together = combination(scores, np.ones(1), run_spread(scores.mean(2), overlap_of_folds(folds)))
        assert (together.error / apart.error) ** 2 == pytest.approx(folds * (1 / folds + 1 / (folds - 1)))
    several = np.random.default_rng(1).normal(0.8, 0.05, (2, 3, 7))
    plain, wide = (combination(several, np.eye(2)[0], run_spread(several.mean(2), overlap_of_folds(k))) for k in (0, 7))
    assert wide.error > plain.error and overlap_of_folds(0) == 0
