"""Law 6 of CCT-R: carried-over labels are clearly better after registration, measured apart from training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.acdc.dataset import ACDC
from datasets.dataset import Dataset, Split, Volume
from datasets.decathlon import Decathlon
from datasets.registration import Recipe
from datasets.registration.quality import STAGES, Quality, measure
from tests.datasets.test_registration import heart

CPU = torch.device("cpu")


class Hearts(Dataset):
    """Made-up hearts, each with its mask."""

    name = "hearts"
    classes = ("background", "right", "myocardium", "left")
    channels = 1
    spacing_known = True
    volumes = (
        heart("a_1", labelled=True),
        heart("b_1", (18.0, -14.0), labelled=True),
        heart("c_1", (-20.0, 14.0), 1.1, labelled=True),
        heart("d_1", (10.0, 22.0), labelled=True),
    )

    @property
    def split(self) -> Split:
        return Split(("a", "b", "c", "d"), (), {})

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        return tuple(v if labels else replace(v, label=None) for v in self.volumes if v.case == case)

    def content_hash(self) -> str:
        return ""


def volumes_of(dataset: Dataset, cases: tuple[str, ...], labelled: int) -> tuple[Volume, ...]:
    return tuple(v for i, case in enumerate(cases) for v in dataset.read(case, labels=i < labelled))


def measured(dataset: Dataset, cases: tuple[str, ...], labelled: int, folder: Path) -> Quality:
    return measure(dataset, volumes_of(dataset, cases, labelled), Recipe(), folder, CPU)


def test_every_stage_is_what_it_says(tmp_path: Path) -> None:
    found = measured(Hearts(), Hearts().split.train, 2, tmp_path)
    table = found.table()
    assert list(table.index) == ["right", "myocardium", "left", "mean"] and list(table.columns) == STAGES
    mean = table.loc["mean"]
    assert mean["before"] < 0.45 and mean["vote"] > mean["before"] + 0.3
    assert mean["after"] <= mean["oracle"] and mean["similarity"] <= mean["oracle"]
    assert mean["before"] == pytest.approx(table["before"].iloc[:3].mean())
    assert set(found.scores["volume"]) == {"c_1", "d_1"} and len(found.pairs) + found.dropped == 4
    assert found.pairs["accepted"].all() and (found.pairs["after"] > found.pairs["before"]).all()
    by_pair = found.pairs.groupby("volume")["dice"].max().mean()
    assert by_pair == pytest.approx(mean["oracle"], abs=1e-6)
    titles = [example.title.split(" pair")[0] for example in found.examples]
    assert titles == ["best", "median", "worst"] and all(example.image.ndim == 2 for example in found.examples)


def test_identity_changes_nothing(tmp_path: Path) -> None:
    dataset = Hearts()
    found = measure(dataset, volumes_of(dataset, dataset.split.train, 1), Recipe("identity"), tmp_path, CPU)
    assert found.table()["before"].to_numpy() == pytest.approx(found.table()["after"].to_numpy())


def test_law_6_on_real_hearts(acdc_folder: Path, tmp_path: Path) -> None:
    """Some patients of the subset; the whole of it is measured by `python -m benchmark registration`."""
    dataset = ACDC(acdc_folder)
    mean = measured(dataset, dataset.split.train[:6], 1, tmp_path).table().loc["mean"]
    assert mean["before"] < 0.4 and mean["vote"] > mean["before"] + 0.15


def test_law_6_on_real_hippocampi(hippocampus_folder: Path, tmp_path: Path) -> None:
    dataset = Decathlon(hippocampus_folder)
    found = measured(dataset, dataset.split.train[:7], 3, tmp_path)
    mean = found.table().loc["mean"]
    assert mean["vote"] > mean["before"] + 0.1 and mean["vote"] > 0.7 and np.nanmax(found.pairs["folded"]) < 0.01


def test_a_volume_whose_mask_nobody_drew_is_not_measured(tmp_path: Path) -> None:
    class Blank(Hearts):
        volumes = (*Hearts.volumes[:3], replace(Hearts.volumes[3], label=None))

    found = measured(Blank(), Blank().split.train, 2, tmp_path)
    assert set(found.pairs["volume"]) == {"c_1"}
