"""Every layout that users have, from files on disk to a table of scores."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.cell.experiment import run_cell
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.records.table import collect
from benchmark.study.grid import expand, parse_methods
from datasets.checks import uses
from datasets.contents import hash_of
from datasets.preparing import open_dataset, prepare
from reports.tables.leaderboard import leaderboard
from tests.datasets.layouts import LAYOUTS, acdc_official, acdc_slices


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_prepared_and_benchmarked(layout: str, tmp_path: Path) -> None:
    name, write = LAYOUTS[layout]
    truth = write(tmp_path / "data")
    source = open_dataset(name, tmp_path / "data")
    found = {volume.name: volume for case in uses(source) for volume in source.read(case, labels=True)}
    assert found.keys() == truth.keys()
    for key, volume in found.items():
        known = truth[key]
        np.testing.assert_array_equal(volume.label, known.label)
        if source.spacing_known:
            assert volume.spacing == pytest.approx(known.spacing, rel=1e-5)
        assert np.corrcoef(volume.image.ravel(), known.image.ravel())[0, 1] > 0.99

    store = Store(tmp_path / "store")
    (cell,) = expand(source, parse_methods("supervised"), [1], [(0, 0)], get_protocol("smoke"), "")
    assert run_cell(cell, store, "cpu") == "done", store.folder(cell).record()
    table = leaderboard(collect(store))
    assert set(table["test_set"]) == set(source.split.tests) and table["dsc"].between(0, 1).all()
    prepared = prepare(name, tmp_path / "data", store.datasets)
    assert prepared.split == source.split and prepared.train_groups == source.train_groups
    assert prepared.classes == source.classes and hash_of(prepared) == hash_of(source)
    for case in uses(source):
        for raw, kept in zip(source.read(case, labels=True), prepared.read(case, labels=True), strict=True):
            np.testing.assert_array_equal(raw.image, kept.image)
            np.testing.assert_array_equal(raw.label, kept.label)
            assert (raw.name, raw.case, raw.spacing, raw.spacing_known) == (
                kept.name,
                kept.case,
                kept.spacing,
                kept.spacing_known,
            )
        assert all(volume.label is None for volume in prepared.read(case, labels=False))


def test_both_acdc_layouts_have_the_field_s_split_groups_and_draws(tmp_path: Path) -> None:
    acdc_slices(tmp_path / "slices")
    acdc_official(tmp_path / "official")
    slices, official = (open_dataset("acdc", tmp_path / name) for name in ("slices", "official"))
    assert slices.split.train == official.split.train == ("patient099", "patient038", "patient050")
    assert slices.train_groups == official.train_groups
    assert official.split.tests == {"test": ("patient011",), "official": ("patient101",)}
    assert official.spacing_known and not slices.spacing_known
    assert (slices.name, official.name) == ("acdc", "acdc")


def test_the_split_of_the_download_is_that_of_the_lists(acdc_folder: Path) -> None:
    from datasets.acdc.official import TEST, TRAIN, VALIDATION

    assert sorted(TRAIN + VALIDATION + TEST) == list(range(1, 101))
    split = open_dataset("acdc", acdc_folder).split
    for listed, known in ((split.train, TRAIN), (split.val, VALIDATION), (split.tests["test"], TEST)):
        order = [f"patient{number:03}" for number in known]
        assert set(listed) <= set(order)
        if known is TRAIN:
            assert list(listed) == order[: len(listed)]
