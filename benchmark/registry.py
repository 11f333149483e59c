"""Names of methods and datasets: found without importing them, loaded when asked for.

A built-in lives in a module of the package ``methods`` or ``datasets`` and carries ``@register("name")``. The table of names is
read from the source text, so that ``--help`` and ``ls`` import neither torch nor the methods.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from benchmark.errors import BadInput

T = TypeVar("T", bound=type)

_registered: dict[str, type] = {}


@dataclass(frozen=True)
class Entry:
    """A name that can be asked for: the module that registers it and the first line of that module's docstring."""

    name: str
    module: str
    summary: str


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a method or a dataset known under ``name``."""

    def decorate(cls: T) -> T:
        known = _registered.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"two classes are registered as {name!r}: {known.__module__} and {cls.__module__}")
        _registered[name] = cls
        cls.name = name  # type: ignore[attr-defined]
        return cls

    return decorate


@cache
def entries(package: str) -> dict[str, Entry]:
    """All built-ins of ``package`` ("methods" or "datasets"), sorted by name, without importing them."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    found = {}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (name := _registered_name(node)):
                module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
                found[name] = Entry(name, module, (ast.get_docstring(tree) or "").split("\n")[0])
    return dict(sorted(found.items()))


def _registered_name(node: ast.ClassDef) -> str | None:
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Name(id="register"), args=[ast.Constant(value=str(name))]):
                return name
    return None


def check_name(package: str, name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        BadInput: no such name; the message offers the nearest one and lists all.
    """
    known = entries(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BadInput(f"no {package.rstrip('s')} is called {name!r}; {hint}known: {', '.join(known)}")
    return known[name]


def load(package: str, name: str) -> type:
    """The class registered under ``name``; imports its module.

    Raises:
        BadInput: no such name.
    """
    importlib.import_module(check_name(package, name).module)
    return _registered[name]
