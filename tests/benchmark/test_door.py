"""`from methods import ...` and `from datasets import ...`: light, complete, and for those outside alone."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import datasets
import methods
from benchmark.ground import registry

ROOT = Path(__file__).resolve().parents[2]
DOORS = {"methods": methods, "datasets": datasets}


def test_a_name_is_the_one_of_its_module() -> None:
    from datasets.slices import IGNORE, Batch
    from methods.bases.one_network import OneNetwork

    assert methods.OneNetwork is OneNetwork and datasets.Batch is Batch and datasets.IGNORE is IGNORE
    assert methods.register is datasets.register is registry.register


@pytest.mark.parametrize("package", DOORS)
def test_every_name_can_be_had_and_the_page_lists_it(package: str) -> None:
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)
    names = set(dir(DOORS[package]))
    assert names == set(found) - {"__builtins__"} and len(names) > 5
    rows = (ROOT / "docs" / "plugins.md").read_text().partition(f"| `{package}` | the interface |")[2].partition("\n\n")[0]
    listed = rows.partition("\n| `datasets`")[0]
    assert {name for name in names if f"`{name}`" in listed} == names


@pytest.mark.parametrize("package", DOORS)
def test_a_name_that_is_not_offered_is_an_import_error_and_modules_still_come(package: str) -> None:
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
        exec(f"from {package} import no_such_name")
    assert not hasattr(DOORS[package], "no_such_name")
    name = {"methods": "cps", "datasets": "draws"}[package]
    found: dict[str, object] = {}
    exec(f"from {package} import {name}", found)
    assert found[name] is importlib.import_module(f"{package}.{name}")


def test_a_door_imports_nothing_until_it_is_asked() -> None:
    probe = "import sys, methods, datasets; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_project_s_own_modules_do_not_go_through_the_doors() -> None:
    through = [
        (path.relative_to(ROOT).as_posix(), alias.name)
        for package in ("benchmark", "methods", "datasets", "reports")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in DOORS
        for alias in node.names
        if alias.name in dir(DOORS[str(node.module)])
    ]
    assert not through
