"""The laws of the house: who may import whom, and how long a file and a list of parameters may be."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "methods", "datasets", "reports")
LINES, LINES_OF_A_COMMAND, PARAMETERS = 400, 120, 8


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and the laws."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def verdict(house: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=120, check=False)


def test_the_laws_hold(house: Path) -> None:
    found = verdict(house)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("file", "line", "named"),
    [
        ("benchmark/ground/errors.py", "import benchmark.records.store", "benchmark.ground.errors -> benchmark.records.store"),
        ("datasets/draws.py", "def f():\n    import methods.method", "datasets.draws -> methods.method"),
        ("methods/parts/losses.py", "import methods.cps", "methods.parts.losses -> methods.cps"),
        ("reports/__init__.py", "import torch", "reports -> torch"),
        ("datasets/dataset.py", "def f():\n    import datasets.phantom", "No cycles are allowed in datasets"),
    ],
    ids=["up", "up, in a function", "a part knows a method", "torch in reports", "a circle"],
)
def test_an_import_that_breaks_a_law_is_named(house: Path, file: str, line: str, named: str) -> None:
    text = (house / file).read_text()
    try:
        (house / file).write_text(f"{text}\n{line}\n")
        found = verdict(house)
    finally:
        (house / file).write_text(text)
    assert found.returncode == 1 and named in " ".join(found.stdout.split()), found.stdout


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def test_files_can_be_read_at_one_sitting() -> None:
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text().splitlines()) for file in sources()}
    long = {
        name: lines
        for name, lines in lengths.items()
        if lines > (LINES_OF_A_COMMAND if name.startswith("benchmark/commands/") else LINES)
    }
    assert not long


def test_functions_take_few_parameters() -> None:
    many = {}
    for file in sources():
        if file.parent.name == "commands":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len(names) - (names[:1] in (["self"], ["cls"]))
                if count > PARAMETERS:
                    many[f"{file.relative_to(ROOT)}: {node.name}"] = count
    assert not many


def test_every_page_has_a_place_in_the_documentation() -> None:
    """What ``make docs-site`` refuses."""
    places = (ROOT / "mkdocs.yml").read_text()
    pages = {file.relative_to(ROOT / "docs") for file in (ROOT / "docs").rglob("*.md") if "report" not in file.parts}
    assert not [page for page in pages if f": {page.as_posix()}\n" not in places]
