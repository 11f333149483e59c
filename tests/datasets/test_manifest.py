"""Classes that no case shows: told, and left out of scores."""

from pathlib import Path

import numpy as np
import pytest

from datasets.manifest import Manifest, scored_classes, shown_classes
from datasets.preparing import prepare
from tests.datasets.odd_files import pairs, save, table


def prepared(root: Path, lost: dict[int, tuple[int, ...]]) -> Manifest:
    """Six cases of classes a, b and c; ``lost`` says by class in which of them it is not."""

    def without(path: Path, array: np.ndarray, number: int) -> None:
        gone = [value for value, numbers in lost.items() if number in numbers]
        save(path, np.where(np.isin(array, gone), 0, array).astype(np.uint8))

    (root / "data").mkdir()
    table(root / "data", pairs(root / "data", values=(1, 2, 3), save_label=without))
    (root / "data/classes.txt").write_text("background\na\nb\nc\n")
    return prepare("folder", root / "data", root / "cache").manifest


@pytest.mark.parametrize(
    ("lost", "test", "val", "sentence"),
    [
        ({}, (1, 2, 3), (1, 2, 3), None),
        ({2: (0, 1, 2, 3)}, (1, 3), (1, 3), "no training case shows b: left out of every score"),
        ({3: (5,)}, (1, 2), (1, 2, 3), "no test case shows c"),
        ({1: (4,)}, (1, 2, 3), (2, 3), "no validation case shows a"),
        ({1: (5,), 2: (5,), 3: (5,)}, (1, 2, 3), (1, 2, 3), "no test case shows a, b, c"),
        ({2: (0,)}, (1, 2, 3), (1, 2, 3), "(c00) shows no b"),
    ],
)
def test_a_class_that_no_case_shows(lost: dict, test: tuple, val: tuple, sentence: str | None, tmp_path: Path) -> None:
    manifest = prepared(tmp_path, lost)
    assert scored_classes(manifest, manifest.split.tests["test"]) == test
    assert scored_classes(manifest, manifest.split.val) == val
    told = manifest.unshown()
    assert any(sentence in line for line in told) if sentence else not told, told


def test_a_file_that_a_user_names_is_not_believed(tmp_path: Path) -> None:
    from datasets.prepared import Prepared
    from datasets.preparing import _named

    manifest = prepared(tmp_path, {})
    (file,) = (tmp_path / "cache").glob("*.h5")
    assert manifest.shown == {f"c{k:02}": (0, 1, 2, 3) for k in range(6)}
    (volume,) = Prepared(file).read("c00", labels=True)
    assert shown_classes(volume) == (0, 1, 2, 3)
    found = _named("folder", file)
    assert found.manifest.shown is None and found.scored(found.split.val) == (1, 2, 3)
