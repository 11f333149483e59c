"""`make bench` prints every ratio in one table; `make performance` also stores them and writes docs/performance.md."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks import page
from tests.benchmarks.ratios import Ledger

KEY = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-performance", action="store_true", help="store the ratios and write docs/performance.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KEY] = Ledger()


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Iterator[Ledger]:
    """Where benchmarks note what they found."""
    yield pytestconfig.stash[KEY]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    ledger = config.stash[KEY]
    if ledger.ratios:
        terminalreporter.section("ratios")
        terminalreporter.line(page.aligned(page.ratio_rows(ledger.ratios)))
    for title, rows in ledger.tables.items():
        terminalreporter.section(title)
        terminalreporter.line(page.aligned(rows))
    if config.getoption("--write-performance"):
        page.write(page.merged(page.load(), ledger.ratios, ledger.tables))
