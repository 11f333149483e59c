"""A plug-in's dataset keeps the laws, or is told which it breaks."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.commands import main
from benchmark.conformance.data import DATA_LAWS, try_laws
from datasets.dataset import Dataset, Split, Volume
from datasets.folder import Folder
from tests.datasets.odd_files import pairs, save, scan, table

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_data.py"


def test_the_example_keeps_them(tmp_path: Path, monkeypatch, capsys) -> None:
    for number in range(5):
        home = tmp_path / ("test" if number == 4 else "train")
        image, mask = scan(number, (1,))
        save(home / f"s{number}.nii.gz", image)
        save(home / f"s{number}_organ.nii.gz", mask)
    monkeypatch.setenv("BENCHMARK_PLUGINS", "")
    monkeypatch.setattr(sys, "argv", ["benchmark", "check", "--plugin", str(EXAMPLE), "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().out
    assert caught.value.code in (0, None), said
    assert said.startswith(f"my_data keeps {len(DATA_LAWS)} laws") and said.count("\n") == 1
    assert len(EXAMPLE.read_text().splitlines()) <= 40


class Good(Folder):
    """A dataset that keeps the laws."""

    name = "good"


class Twice(Good):
    """A case trains and tests."""

    @property
    def split(self) -> Split:  # type: ignore[override]
        return Split(("c00", "c01"), (), {"test": ("c01",)})


class Leaky(Good):
    """Masks are always there."""

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        return super().read(case, True)


class Restless(Good):
    """Its hash is another each time."""

    def content_hash(self) -> str:
        return str(id(self))


class Bright(Good):
    """Intensities beyond 1."""

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        return tuple(Volume(v.name, v.case, v.image * np.float32(2), v.label, v.spacing) for v in super().read(case, labels))


BREAKS = [
    (Good, None),
    (Twice, "c01 is in train"),
    (Leaky, "has a mask although"),
    (Restless, "content_hash"),
    (Bright, "[0, 1]"),
]


@pytest.mark.parametrize(("cls", "part"), BREAKS)
def test_who_breaks_one_is_told(cls: type[Dataset], part: str | None, tmp_path: Path) -> None:
    table(tmp_path, pairs(tmp_path))
    problems = [result.problem for result in try_laws(cls, tmp_path) if result.problem]
    assert any(part in problem for problem in problems) if part else not problems, problems
