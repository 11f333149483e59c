"""Which code made a result: a fingerprint that neither comments, formatting, docstrings nor methods that are not involved can change.

Of a method it covers the class, its bases, and whatever they use of this project's methods or of the plug-in's own modules, read from
source text as syntax trees, definition by definition; what the harness itself does to a cell (slices, training, evaluation) is covered by
HARNESS, a number that is raised by hand; registration by its configuration. Readers of data are covered by the hash of what they read,
hyper-parameters by their values in the cell.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.files import file_checksum
from benchmark.records.identity import Cell, digest

HARNESS = 2
"""Version of what the harness itself does to a cell: raise it whenever the bits of slices, batches, training or evaluation change, and say
so in the CHANGELOG. ``tests/benchmark/test_harness_bits.py`` notices where that was forgotten."""

HARNESS_PACKAGES = ("benchmark", "datasets", "reports")
MOVED = {"benchmark.ground.registry": "benchmark.registry", "benchmark.ground.protocol": "benchmark.protocol"}
"""Modules of the harness by the names under which methods' fingerprints know them: where code stands changes no result."""
UNKNOWN = "unknown"
"""The code of records from before there were fingerprints."""

VALUES_ARE_IN_THE_CELL = ("tunable", "Field")
"""Calls that give a hyper-parameter its default, limits, search space and text."""


class Code(BaseModel):
    """What made a cell: hashes of the method's source and of the registration's configuration (None: it uses none), and HARNESS."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    registration: str | None
    harness: int

    @property
    def id(self) -> str:
        """One short hash of all."""
        return digest([self.method, self.registration, self.harness])


def code_of(cell: Cell) -> Code:
    """The code that would make the cell now.

    Raises:
        BadInput: there is no such method here, or it no longer takes the cell's hyper-parameters.
    """
    return Code(method=method_code(cell.method), registration=_registration_code(cell), harness=HARNESS)


def _registration_code(cell: Cell) -> str | None:
    try:
        hparams = registry.load("methods", cell.method).Hparams(**cell.hparams)  # type: ignore[attr-defined]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(
            f"{cell.method} does not take what cell {cell.id} has ({where}: {first['msg'].lower()}); leave it out"
        ) from None
    recipe = hparams.used_recipe
    if recipe is None:
        return None
    from datasets.registration import configuration

    return digest(configuration(recipe))


def what_changed(cell: Cell, code: Code | None) -> str:
    """In a few words, what has changed since ``code`` made the cell; empty where nothing has. Imports the method only where it has to.

    Raises:
        BadInput: there is no such method here.
    """
    if code is None:
        return "its code was not noted"
    changed = ["the method has changed"] if code.method != method_code(cell.method) else []
    changed += ["training or evaluation has changed"] if code.harness != HARNESS else []
    if not changed and code.registration is not None and code.registration != _registration_code(cell):
        changed = ["registration has changed"]
    return ", ".join(changed)


def is_current(cell: Cell, code: Code | None) -> bool:
    """Whether ``code``, which made the cell, is what would make it now; raises as ``what_changed``."""
    return not what_changed(cell, code)


@cache
def sources() -> str:
    """Hash of all code of this project: while it is the same, so is what ``what_changed`` says of a cell of one of its methods."""
    contents = []
    for package in (*HARNESS_PACKAGES, "methods"):
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        contents += [f"{path.relative_to(root.parent)} {file_checksum(path)}" for path in sorted(root.rglob("*.py"))]
    return digest(contents)


def method_code(name: str) -> str:
    """Hash of the source of the method called ``name`` and of all that it uses, without importing it.

    Raises:
        BadInput: there is no such method, or its source cannot be read.
    """
    entry = registry.check_name("methods", name)
    return _method_code(name, entry.module)


@cache
def _method_code(name: str, module: str) -> str:
    source = _source(module)
    if source is None:
        raise BadInput(f"the source of {module}, which registers the method {name}, cannot be read; expected a Python file")
    registered = [
        node.name for node in source.tree.body if isinstance(node, ast.ClassDef) and registry.registered_name(node) == name
    ]
    reached = _Reached(_home(source.file))
    if registered:
        reached.follow(module, registered[0])
    else:  # registered in another way than by the decorator: whatever its module holds may count
        reached.follow(module, None)
    return digest("\n".join(sorted(reached.texts.values())))


@dataclass(frozen=True)
class _Source:
    """A module's source: its top-level statements by the name that they define, its imports, the statements that do neither, and what it
    imports only when asked for it."""

    file: Path
    tree: ast.Module
    definitions: dict[str, list[ast.stmt]]
    imports: dict[str, tuple[str, str | None]]
    others: list[ast.stmt]
    offers: dict[str, tuple[str, str | None]]


@cache
def _source(module: str) -> _Source | None:
    """The source of a module; None where it has none (a built-in, an extension) or is not there."""
    loaded = sys.modules.get(module)
    path = getattr(loaded, "__file__", None)
    if path is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        path = spec.origin if spec is not None and spec.has_location else None
    if path is None or not path.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    package = module if Path(path).name == "__init__.py" else module.rpartition(".")[0]
    definitions: dict[str, list[ast.stmt]] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    others: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= _imported(node, package)
        elif names := _defined(node):
            for name in names:
                definitions.setdefault(name, []).append(node)
        elif not _is_text(node) and not _is_for_types(node):
            others.append(node)
    return _Source(Path(path).resolve(), tree, definitions, imports, others, _offers(tree, package))


def _offers(tree: ast.Module, package: str) -> dict[str, tuple[str, str | None]]:
    """Of a module with a ``__getattr__`` (PEP 562; see ``benchmark.ground.door``), what it imports for type checkers."""
    blocks = [node for node in tree.body if isinstance(node, ast.If) and _is_for_types(node)]
    run = [*tree.body, *(node for block in blocks for node in block.orelse)]
    if not any("__getattr__" in _defined(node) for node in run):
        return {}
    imports = [node for block in blocks for node in block.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {name: target for node in imports for name, target in _imported(node, package).items()}


def _defined(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines, where that is all it does."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, tuple[str, str | None]]:
    """By local name, the module and, of ``from`` imports, the name in it."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: (alias.name, None) for alias in node.names}
    module = node.module or ""
    if node.level:
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1])
        module = f"{base}.{module}".strip(".")
    return {alias.asname or alias.name: (module, alias.name) for alias in node.names}


def _home(file: Path) -> Path:
    """The folder of what belongs together: of a file of its own its folder, of a package's module the outermost package."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder if folder == file.parent else folder / file.relative_to(folder).parts[0]


@dataclass
class _Reached:
    """Definitions that were reached, as texts, by where they stand. ``home``: the folder of the method's own modules."""

    home: Path
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    waiting: dict[str, list[tuple[str, str, ast.stmt]]] = field(default_factory=dict)
    """Functions of data classes by name: each counts once that name is used as an attribute anywhere."""

    def ours(self, module: str) -> bool:
        """Whether a module is one of this project's methods or of the plug-in."""
        package = module.partition(".")[0]
        if package in HARNESS_PACKAGES or not (package == "methods" or self._is_home(package)):
            return False  # said before anything is imported: to find torch.nn, Python imports torch
        return _source(module) is not None

    def _is_home(self, package: str) -> bool:
        source = _source(package)
        if source is None or not source.file.is_relative_to(self.home):
            return False
        return "site-packages" not in source.file.relative_to(self.home).parts

    def follow(self, module: str, name: str | None) -> None:
        """Take in the definition of ``name`` in ``module``, or all of the module, and all that they use."""
        source = _source(module)
        if name is not None and source is not None and name not in source.definitions:
            if target := (source.offers | source.imports).get(name):
                self.use(*target)
                return
            submodule = f"{module}.{name}"
            if _source(submodule) is not None:
                self.follow(submodule, None)
                return
            name = None if name == "*" else name
        if source is None:
            return
        for number, node in enumerate(source.others):
            self.take(module, f"+{number}", node)
        for target in source.offers.values() if name is None else ():
            self.use(*target)
        names = source.definitions if name is None else [name]
        for each in names:
            for number, node in enumerate(source.definitions.get(each, [])):
                self.take(module, f"{each} {number}" if number else each, node)

    def use(self, module: str, name: str | None) -> None:
        """Something that is imported: followed where it is ours, else known by its name and the module in which it stands."""
        door = _source(module) if module in HARNESS_PACKAGES else None
        if door is not None and name is not None:
            module, name = door.offers.get(name, (module, name))
        if self.ours(module):
            self.follow(module, name)
        else:
            self.texts.setdefault(("", f"{module}:{name}"), f"import {MOVED.get(module, module)} {name}")

    def take(self, module: str, place: str, node: ast.stmt) -> None:
        if (module, place) in self.texts:
            return
        if isinstance(node, ast.ClassDef) and _is_data(node):
            node, functions = _apart(node)
            for function in functions:
                self.waiting.setdefault(function.name, []).append((module, f"{place}.{function.name}", function))
        facts = _facts(node)
        self.texts[module, place] = facts.text
        source = _source(module)
        assert source is not None
        package = module if source.file.name == "__init__.py" else module.rpartition(".")[0]
        local = {name: target for part in facts.imports for name, target in _imported(part, package).items()}
        self.attributes |= facts.attributes
        for target in local.values():
            self.use(*target)
        for name in facts.names:
            if name in source.definitions:
                self.follow(module, name)
            elif name in source.imports:
                self.use(*source.imports[name])
        for attribute in self.attributes & set(self.waiting):
            for waiting in self.waiting.pop(attribute, []):
                self.take(*waiting)


@dataclass(frozen=True)
class _Facts:
    """What a definition is and uses: its text, names in order, attributes, and imports of its own."""

    text: str
    names: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[ast.Import | ast.ImportFrom, ...]


@cache
def _facts(node: ast.stmt) -> _Facts:
    """Known once for all methods that reach the definition."""
    parts = list(_parts(node))
    names = dict.fromkeys(part.id for part in parts if isinstance(part, ast.Name))
    attributes = frozenset(part.attr for part in parts if isinstance(part, ast.Attribute))
    imports = tuple(part for part in parts if isinstance(part, (ast.Import, ast.ImportFrom)))
    return _Facts(_text(node), tuple(names), attributes, imports)


@cache
def _apart(node: ast.ClassDef) -> tuple[ast.ClassDef, tuple[ast.FunctionDef, ...]]:
    """A data class without its functions, and these; those that Python itself calls stay."""
    functions = tuple(f for f in node.body if isinstance(f, ast.FunctionDef) and not f.name.startswith("__"))
    rest = [statement for statement in node.body if statement not in functions]
    return ast.ClassDef(**{**dict(ast.iter_fields(node)), "body": rest}), functions


def _is_data(node: ast.ClassDef) -> bool:
    """Whether a class is a data class, whose functions nobody calls but by their names."""
    called = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(isinstance(d, ast.Name) and d.id == "dataclass" for d in called)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it that can change a result."""
    yield node
    for _, value in _fields(node):
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _parts(part)


def _fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """The fields of a node that can change a result, the same on every version of Python."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in VALUES_ARE_IN_THE_CELL:
        return
    for name, value in ast.iter_fields(node):
        if name in ("ctx", "kind", "type_comment", "type_params", "type_ignores"):
            continue
        if isinstance(value, list):
            value = [part for part in value if not (isinstance(part, ast.stmt) and _is_text(part))]
        if value is not None and value != []:
            yield name, value


def _text(node: ast.AST | Any) -> str:
    """A node as text without its place, comments and docstrings."""
    if isinstance(node, ast.AST):
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in _fields(node))})"
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    return repr(node)
