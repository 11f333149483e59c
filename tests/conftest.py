"""What tests of several folders share."""

import os
from pathlib import Path

import pytest
from rich.console import Console


def _real(name: str, file: str) -> Path:
    """A folder of real data: in the folder that BENCHMARK_DATA names, or in shared/data beside the repository."""
    data = Path(os.environ.get("BENCHMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (data / name / file).is_file():
        pytest.skip(f"no real {name} in {data}; set BENCHMARK_DATA to the folder that holds {name}")
    return data / name


@pytest.fixture(scope="session")
def acdc_folder() -> Path:
    """The real ACDC subset."""
    return _real("ACDC", "train_slices.list")


@pytest.fixture(scope="session")
def hippocampus_folder() -> Path:
    """The real Task04_Hippocampus subset."""
    return _real("Task04_Hippocampus", "dataset.json")


@pytest.fixture
def console() -> Console:
    """A console that shows nothing."""
    return Console(quiet=True)
