"""What tests of several folders share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def acdc_folder() -> Path:
    """The real ACDC subset: in the folder that BENCHMARK_DATA names, or in shared/data beside the repository."""
    data = Path(os.environ.get("BENCHMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (data / "ACDC" / "train_slices.list").is_file():
        pytest.skip(f"no real ACDC in {data}; set BENCHMARK_DATA to the folder that holds ACDC")
    return data / "ACDC"
