"""Method files stay short, and their documentation is that of the classes."""

from pathlib import Path
from statistics import median

from benchmark.documentation import methods_page
from benchmark.ground import registry
from benchmark.reference import commands_page, records_page

ROOT = Path(__file__).parents[2]


def test_files_of_methods_are_short() -> None:
    lengths = {
        name: len((ROOT / Path(*entry.module.split("."))).with_suffix(".py").read_text().splitlines())
        for name, entry in registry.built_ins("methods").items()
    }
    assert median(lengths.values()) <= 60 and max(lengths.values()) <= 100, lengths


def test_the_page_on_methods_is_up_to_date() -> None:
    assert (ROOT / "docs" / "methods.md").read_text() == methods_page(), "run `make docs`"


def test_the_reference_pages_are_up_to_date() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == commands_page(), "run `make docs`"
    assert (ROOT / "docs" / "records.md").read_text() == records_page(), "run `make docs`"
