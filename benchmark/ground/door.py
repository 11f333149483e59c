"""A package's door: the names that it offers to those outside, each imported from its module once somebody asks for it (PEP 562).

The package says them once, as imports that type checkers read and nobody runs::

    if TYPE_CHECKING:
        from package.module import Name
    else:
        __getattr__, __dir__ = door(__name__)

Modules of this project import from the modules themselves, so that no import goes round.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any


def door(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``, whose source is read when the first name is asked for."""

    @cache
    def modules() -> dict[str, str]:
        """By name, the module in which it stands."""
        tree = ast.parse(Path(str(sys.modules[package].__file__)).read_bytes())
        (block,) = (node for node in tree.body if isinstance(node, ast.If))
        return {alias.name: str(node.module) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    def names() -> list[str]:
        return sorted(modules())

    def attribute(name: str) -> Any:
        if name == "__all__":  # which `from package import *` asks for
            return names()
        if name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules()[name]), name)

    return attribute, names
