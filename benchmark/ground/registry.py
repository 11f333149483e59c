"""Names of methods and datasets: found without importing them, loaded when asked for.

A built-in lives in a module of the package ``methods`` or ``datasets`` and carries ``@register("name")``. The table of names is
read from the source text, so that ``--help`` and ``ls`` import neither torch nor the methods. Plug-ins are files and packages
(``--plugin``, which sets BENCHMARK_PLUGINS, so that worker processes find them too; see ``benchmark.ground.plugins``) and entry points
``benchmark.methods`` and ``benchmark.datasets``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from benchmark.ground.errors import BadInput, meant, quoted
from benchmark.ground.plugins import import_plugin

T = TypeVar("T", bound=type)

PLUGINS = "BENCHMARK_PLUGINS"
"""Environment variable: plug-ins' files and folders, separated as PATH is."""

_registered: dict[str, type] = {}


NAME = r"[A-Za-z0-9_\-]+"


@dataclass(frozen=True)
class Entry:
    """A name that can be asked for: the module that registers it, the first line of its docstring, the plug-in it comes from ("" of a
    built-in), and where it comes from in words.
    """

    name: str
    module: str
    summary: str
    plugin: str = ""
    origin: str = "built-in"


def register(name: str) -> Callable[[T], T]:
    """Class decorator: make a method or a dataset known under ``name``.

    Raises:
        BadInput: the name cannot be one, since it becomes a folder and stands in comma lists.
    """
    if not re.fullmatch(NAME, name):
        raise BadInput(f"{name!r} cannot be the name of a method or dataset; expected letters, digits, _ and - alone")

    def decorate(cls: T) -> T:
        known = _registered.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"two classes are registered as {name!r}: {known.__module__} and {cls.__module__}")
        _registered[name] = cls
        cls.name = name  # type: ignore[attr-defined]
        return cls

    return decorate


def entries(package: str) -> dict[str, Entry]:
    """All names of ``package`` ("methods" or "datasets"): built-ins without importing them, and plug-ins; sorted.

    Raises:
        BadInput: a plug-in cannot be loaded, or takes a name that is taken.
    """
    found = dict(built_ins(package))
    for entry in [*_offered(package, tuple(sys.path)), *_from_files(package, os.environ.get(PLUGINS, ""))]:
        if entry.name in found:
            raise BadInput(f"plug-in {entry.plugin}: {entry.name!r} is the name of {found[entry.name].module}; choose another")
        found[entry.name] = entry
    return dict(sorted(found.items()))


@cache
def _offered(package: str, places: tuple[str, ...]) -> list[Entry]:
    """Entry points of installed packages, whose modules are not imported. places: where Python looks for packages now."""
    found = []
    for point in importlib.metadata.entry_points(group=f"benchmark.{package}"):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
        summary = summary_of(point.module) or f"entry point {point.value}"
        found.append(Entry(point.name, point.module, summary, point.value, f"{origin} ({point.module})"))
    return found


def summary_of(module: str) -> str:
    """The first line of a module's docstring, read without running it; empty where it has none or cannot be read."""
    try:
        spec = importlib.util.find_spec(module)
        tree = ast.parse(Path(str(spec and spec.origin)).read_bytes())
    except Exception:  # of a package's __init__, which is run to find a module in it, may come anything
        return ""
    return (ast.get_docstring(tree) or "").split("\n")[0]


@cache
def _from_files(package: str, paths: str) -> list[Entry]:
    """What the plug-in files and packages register."""
    found = []
    for path in dict.fromkeys(filter(None, paths.split(os.pathsep))):
        module = import_plugin(Path(path))
        mine = [(name, cls) for name, cls in _registered.items() if f"{cls.__module__}.".startswith(f"{module}.")]
        if not mine:
            raise BadInput(f'--plugin: {path} registers nothing; expected a class with @register("name")')
        found += [
            Entry(name, cls.__module__, (sys.modules[cls.__module__].__doc__ or path).split("\n")[0], path, path)
            for name, cls in mine
            if getattr(cls, "package", "methods") == package
        ]
    return found


@cache
def built_ins(package: str) -> dict[str, Entry]:
    """All built-ins of ``package`` ("methods" or "datasets"), sorted by name, without importing them."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    found = {}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and (name := registered_name(node)):
                module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
                found[name] = Entry(name, module, (ast.get_docstring(tree) or "").split("\n")[0])
    return dict(sorted(found.items()))


def registered_name(node: ast.ClassDef) -> str | None:
    """The name under which a class is registered by its decorator; None where it is not."""
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
        raise BadInput(f"no {package.rstrip('s')} is called {quoted(name)}; {meant(name, known)}")
    return known[name]


def load(package: str, name: str) -> type:
    """The class registered under ``name``; imports its module.

    Raises:
        BadInput: no such name.
    """
    module = check_name(package, name).module
    importlib.import_module(module)
    if name not in _registered:
        raise BadInput(f"{module} does not register {name!r}; expected its entry point to bear the name of @register")
    return _registered[name]
