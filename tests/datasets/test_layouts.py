"""Every layout that users have, from files on disk to a table of scores."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.store import Store
from datasets.checks import uses
from datasets.prepared import open_dataset, prepare
from tests.datasets.layouts import LAYOUTS, acdc_official, acdc_slices

ROOT = Path(__file__).parents[2]


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

    options = ["--dataset", name, "--data", tmp_path / "data", "--store", tmp_path / "store", "--protocol", "smoke"]
    arguments = [*options, "--methods", "supervised", "--labels", "1", "--tracking", "none", "--jobs", "1"]
    result = subprocess.run(
        [sys.executable, "-m", "benchmark", "run", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "store" / "report" / "leaderboard.csv")
    assert set(table["test_set"]) == set(source.split.tests) and table["dsc"].between(0, 1).all()
    prepared = prepare(name, tmp_path / "data", Store(tmp_path / "store").datasets)
    assert prepared.split == source.split and prepared.train_groups == source.train_groups
    assert prepared.classes == source.classes and prepared.content_hash() == source.content_hash()
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


def test_the_split_of_the_download_is_that_of_the_lists(acdc_folder: Path) -> None:
    from datasets.acdc_official import TEST, TRAIN, VALIDATION

    assert sorted(TRAIN + VALIDATION + TEST) == list(range(1, 101))
    split = open_dataset("acdc", acdc_folder).split
    for listed, known in ((split.train, TRAIN), (split.val, VALIDATION), (split.tests["test"], TEST)):
        order = [f"patient{number:03}" for number in known]
        assert set(listed) <= set(order)
        if known is TRAIN:
            assert list(listed) == order[: len(listed)]
