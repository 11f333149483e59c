"""The made-up task of `check`: real networks of the smoke protocol on a few volumes with transforms that are known."""

from collections.abc import Callable

import pytest

from benchmark.conformance.task import made_up_task
from methods.method import Task


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Builds the task anew; arguments change the protocol."""
    return lambda **changes: made_up_task(**changes)
