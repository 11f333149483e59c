"""What the harness adds to a step of each method."""

import pytest

from tests.benchmarks.ratios import Ledger
from tests.benchmarks.scenes import METHODS, harness_overhead


@pytest.mark.parametrize("name", METHODS)
def test_harness_overhead(ledger: Ledger, name: str) -> None:
    ledger.add(harness_overhead(name, steps=32))
