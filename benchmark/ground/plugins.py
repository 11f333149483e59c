"""Plug-ins: files and packages of the user's own, imported from where they lie.

A file is a module of its own; what lies beside it can be imported by it (``import my_losses``). A package is a folder with an
``__init__.py``, imported under its own name, so that relative and absolute imports work in it. Nobody's module is shadowed and nobody's
taken for another's: that would be other code than the user reads.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmark.ground.errors import BadInput


def import_plugin(path: Path) -> str:
    """Import a plug-in, once; returns its module's name.

    Raises:
        BadInput: it cannot be loaded, or a module that it imports from its own folder has the name of another one.
    """
    path = path.resolve()
    if not path.exists():
        raise BadInput(f"--plugin: there is no {path}; expected a Python file, or a folder with an __init__.py")
    if path.is_dir() and not (path / "__init__.py").is_file():
        raise BadInput(
            f"--plugin: {path} has no __init__.py; expected a package that imports its methods there, or name a file in it"
        )
    if path.is_file() and path.suffix != ".py":
        raise BadInput(f"--plugin: {path} is no Python file; expected one whose name ends in .py")
    name = path.name if path.is_dir() else f"benchmark_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    try:
        return _import(path, name)
    except BadInput:
        raise
    except Exception as error:  # a plug-in's code may raise anything
        sys.modules.pop(name, None)
        raise BadInput(f"--plugin: {path} cannot be loaded ({type(error).__name__}: {error}); correct the file") from error


def _import(path: Path, name: str) -> str:
    _make_reachable(path.parent)
    if path.is_dir():
        _check_helper(path, name, path)
        importlib.import_module(name)
    elif name not in sys.modules:
        _check_helpers(path)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return name


def _make_reachable(folder: Path) -> None:
    """Let modules of a folder be imported, after all others."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _check_helpers(plugin: Path) -> None:
    """That the modules beside a plug-in that it imports, and that these import, are what Python finds by their names."""
    waiting, seen = [plugin], {plugin}
    while waiting:
        for name in _imported(waiting.pop()):
            for helper in (plugin.parent / f"{name}.py", plugin.parent / name):
                if helper not in seen and (helper.is_file() or (helper / "__init__.py").is_file()):
                    seen.add(helper)
                    _check_helper(plugin, name, helper)
                    waiting += [helper] if helper.is_file() else sorted(helper.rglob("*.py"))


def _check_helper(plugin: Path, name: str, helper: Path) -> None:
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    origin = Path(spec.origin).resolve() if spec and spec.origin else None
    if origin not in (helper, helper / "__init__.py"):
        other = origin or "a module of Python's own"
        raise BadInput(f"--plugin: {plugin}: {helper} has the name of {other}, which `import {name}` would bring; rename it")


def _imported(file: Path) -> Iterator[str]:
    """The first part of the names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
