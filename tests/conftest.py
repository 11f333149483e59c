"""What tests of several folders share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""As a cell has: recorded bits are of one thread. Read when torch is imported, by what a test starts, too."""


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


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Every test finds the environment as it was: libraries write into it (``mlflow.set_tracking_uri`` does), and commands read it."""
    before = dict(os.environ)
    yield
    for name in (os.environ.keys() | before.keys()) - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


@pytest.fixture
def console() -> Console:
    """A console that shows nothing."""
    return Console(quiet=True)


class Disk:
    """A small disk in memory, mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        """Mount it, or mount it again with other options, such as size=64k or ro."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 64 MB that a test can fill, or make read-only: permissions do not keep root from writing."""
    (tmp_path / "disk").mkdir()
    found = Disk(tmp_path / "disk")
    try:
        found.mount("size=64m")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here ({error}); run the tests as root of a container that may")
    yield found
    subprocess.run(["umount", "-l", found.path], check=True)
