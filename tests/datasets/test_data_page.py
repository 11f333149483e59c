"""docs/data.md says what is really printed: each example in its table comes from a case of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.ground.errors import BadInput
from datasets.preparing import prepare
from tests.datasets import test_cases, test_more_cases

PAGE = Path(__file__).parents[2] / "docs/data.md"
READ = test_cases.READ | test_more_cases.READ
REFUSED = test_cases.REFUSED | test_more_cases.REFUSED
SHOWN = (
    *(
        "pixdim",
        "metres",
        "axis_mix",
        "sagittal stacks",
        "oblique",
        "short axes",
        "qform from right to left",
        "labels_gap",
        "coloured masks",
    ),
    *(
        "unmatched",
        "one is of no format",
        "BraTS",
        "btcv_names",
        "unlabelled training entry",
        "grey among colours",
        "empty_labelled_case",
    ),
    *(
        "acdc_no_test_masks",
        "BTCV's order of organs",
        "nnunet ignore",
        "a_file_a_channel",
        "a class in few cases",
        "nnunet without test masks",
    ),
    *(
        "label_origin",
        "mask without a header",
        "mask with axes in another order",
        "a channel a class",
        "regions",
        "channel missing",
    ),
    *(
        "minus one",
        "undeclared value",
        "images as masks",
        "no masks at all",
        "pairs of header and image",
        "palettes of their own",
    ),
    *("JPEG masks", "NaN outside of the body", "same case to train and test", "no layout"),
)


def lines_of(name: str, folder: Path) -> list[str]:
    """What `prepare` says of a case, paths without the folder of the data."""
    dataset, make, _ = (READ | REFUSED)[name]
    (folder / "data").mkdir(parents=True)
    make(folder / "data")
    try:
        prepared = prepare(dataset, folder / "data", folder / "cache")
        said = [*prepared.facts, *prepared.warnings]
    except BadInput as error:
        said = [f"error: {error}"]
    return [line.replace(f"{folder / 'data'}/", "").replace(str(folder / "data"), "data") for line in said]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [line for name in SHOWN for line in lines_of(name, tmp_path_factory.mktemp("case") / "x")]


def examples() -> list[str]:
    """The first column of the table, without its code marks."""
    table = PAGE.read_text().split("## What is decided, and what is told")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    return [row.replace("`", "") for row in rows[1:]]


def test_the_table_has_examples() -> None:
    assert len(examples()) > 25


@pytest.mark.parametrize("example", examples())
def test_an_example_is_what_is_printed(example: str, said: list[str]) -> None:
    pattern = ".*".join(map(re.escape, re.split(r" ?\[\.\.\.\]", example)))
    assert any(re.fullmatch(pattern, line) for line in said), example
