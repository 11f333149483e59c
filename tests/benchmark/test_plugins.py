"""Plug-ins: every example of docs/plugins.md runs; files, folders and packages are found, and none is taken for another."""

import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from benchmark.commands import main
from benchmark.commands.new import TEMPLATE
from benchmark.conformance import laws
from benchmark.conformance.data import try_laws
from benchmark.conformance.subject import Subject
from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.plugins import import_plugin
from benchmark.records import fingerprint
from methods.method import Propagator

DOCS = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
EXAMPLES = {name: code for code in BLOCKS for name in re.findall(r'@register\("(\w+)"\)', code)}
METHOD = '''"""{doc}"""
from methods import OneNetwork, register
{more}
@register("{name}")
class Mine(OneNetwork):
    """Mine."""
    def extra(self, view, batch, step):
        return {{}}
'''


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules, names and paths as they were, before and after."""
    modules, path = set(sys.modules), list(sys.path)
    monkeypatch.setenv(registry.PLUGINS, "")
    yield
    for name in set(sys.modules) - modules:
        if "pytest-of-" in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    for name, cls in list(registry._registered.items()):
        if not cls.__module__.startswith(("methods.", "datasets.")):
            del registry._registered[name]
    sys.path[:] = path


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, registry.Entry]]:
    def given(*paths: Path) -> dict[str, registry.Entry]:
        """The plug-ins' methods."""
        monkeypatch.setenv(registry.PLUGINS, os.pathsep.join(map(str, paths)))
        for cached in (registry._from_files, fingerprint._source, fingerprint._method_code):
            cached.cache_clear()
        return {name: entry for name, entry in registry.entries("methods").items() if entry.plugin}

    return given


def write(path: Path, name: str, doc: str = "A method of mine.", more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(METHOD.format(name=name, doc=doc, more=more))
    return path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


QUICK = (
    laws.terms_teach,
    laws.terms_reach,
    laws.reduces_to_supervised,
    laws.predicts,
    laws.hparams_are_checked,
    laws.names_its_source,
)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "balls"])
def test_a_method_of_the_docs_keeps_the_laws(name: str, tmp_path: Path, use: Callable[..., dict]) -> None:
    (tmp_path / f"{name}.py").write_text(EXAMPLES[name])
    assert list(use(tmp_path / f"{name}.py")) == [name]
    subject = Subject(registry.load("methods", name))
    torch.set_num_threads(1)
    for law in laws.UNTRAINED_LAWS if issubclass(subject.cls, Propagator) else QUICK:
        law(subject)


def test_the_dataset_of_the_docs_keeps_the_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "balls.py").write_text(EXAMPLES["balls"])
    monkeypatch.setenv(registry.PLUGINS, str(tmp_path / "balls.py"))
    assert [result.problem for result in try_laws(registry.load("datasets", "balls"), None)] == [None] * 5


def test_the_docs_name_what_there_is() -> None:
    assert len(EXAMPLES) == 6
    for line in re.findall(r"^python -m benchmark (\w+)", DOCS, re.MULTILINE):
        importlib.import_module(f"benchmark.commands.{line}")
    assert "my_method" in TEMPLATE.format(name="my_method", title="MyMethod")


def test_a_new_method_keeps_the_laws(
    tmp_path: Path, use: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my_method.py"
    assert command(monkeypatch, "new", "method", file) == 0
    assert f"check --plugin {file}" in capsys.readouterr().out
    assert use(file)["my_method"].summary.startswith("MyMethod: what it is")
    subject = Subject(registry.load("methods", "my_method"))
    for law in QUICK:
        law(subject)
    for law in (laws.terms_teach, laws.terms_reach):
        law(Subject(subject.cls, {"distance": "cross_entropy", "power": 4}))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("my_method.txt", "expected a name such as my_method.py"),
        ("my-method.py", "cannot be the file of a method"),
        ("cps.py", "cps is a method already"),
        ("no/such/place.py", "there is no folder"),
        ("there.py", "is there already"),
    ],
)
def test_a_method_that_cannot_begin_is_said(
    tmp_path: Path, name: str, what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.py").write_text("mine")
    assert command(monkeypatch, "new", "method", tmp_path / name) == 2
    assert what in capsys.readouterr().err and (tmp_path / "there.py").read_text() == "mine"


def test_two_files_of_one_stem_are_two(tmp_path: Path, use: Callable[..., dict]) -> None:
    files = [write(tmp_path / folder / "method.py", f"from_{folder}", f"That of {folder}.") for folder in ("a", "b")]
    found = use(*files, files[0])
    assert {name: entry.summary for name, entry in found.items()} == {"from_a": "That of a.", "from_b": "That of b."}
    assert registry.load("methods", "from_b").__module__ != registry.load("methods", "from_a").__module__
    assert found["from_a"].origin == str(files[0])


def test_what_lies_beside_a_file_can_be_imported_and_is_part_of_its_code(tmp_path: Path, use: Callable[..., dict]) -> None:
    helper = tmp_path / "losses_of_mine.py"
    helper.write_text("def boundary(x):\n    return x\n")
    file = write(tmp_path / "method.py", "helped", more="from losses_of_mine import boundary\nUSED = boundary\n")
    file.write_text(file.read_text().replace("return {}", "return {'a': USED(view)}"))
    use(file)
    before = fingerprint.method_code("helped")
    helper.write_text("def boundary(x):\n    return 2 * x\n")
    use(file)
    assert fingerprint.method_code("helped") != before


@pytest.mark.parametrize("taken", ["json", "helper_of_two", "rich"])
def test_a_helper_that_python_would_not_take_is_refused(tmp_path: Path, use: Callable[..., dict], taken: str) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / f"m_{folder}.py", f"m_{folder}", more=f"import {taken}\n")
        (tmp_path / folder / f"{taken}.py").write_text(f"WHOSE = '{folder}'\n")
    with pytest.raises(BadInput, match=f"{taken}.py has the name of .*; rename it"):
        use(tmp_path / "a" / "m_a.py", tmp_path / "b" / "m_b.py")


def test_a_helper_s_helper_is_looked_at_too(tmp_path: Path, use: Callable[..., dict]) -> None:
    file = write(tmp_path / "m.py", "m_deep", more="import first_step\n")
    (tmp_path / "first_step.py").write_text("def f():\n    import json\n    return json.loads\n")
    (tmp_path / "json.py").write_text("loads = None\n")
    with pytest.raises(BadInput, match=r"json.py has the name of"):
        use(file)


def test_a_folder_is_a_plug_in(tmp_path: Path, use: Callable[..., dict]) -> None:
    folder = tmp_path / "methods_of_mine"
    write(folder / "first.py", "first_of_mine", "The first.", "from .parts import X\nfrom methods_of_mine.parts import Y\n")
    write(folder / "second.py", "second_of_mine", "The second.")
    (folder / "parts.py").write_text("X = Y = 1\n")
    (folder / "__init__.py").write_text("from methods_of_mine import first, second\n")
    found = use(folder)
    assert {name: entry.summary for name, entry in found.items()} == {
        "first_of_mine": "The first.",
        "second_of_mine": "The second.",
    }
    assert registry.load("methods", "first_of_mine").__module__ == "methods_of_mine.first"
    assert fingerprint.method_code("first_of_mine") != fingerprint.method_code("second_of_mine")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda p: p.mkdir(), "has no __init__.py"),
        (lambda p: None, "there is no"),
        (lambda p: p.write_text("x"), "is no Python file"),
    ],
)
def test_what_is_no_plug_in_is_said(tmp_path: Path, make: Callable[[Path], object], what: str) -> None:
    make(tmp_path / "thing")
    with pytest.raises(BadInput, match=what):
        import_plugin(tmp_path / "thing")


def test_a_folder_with_the_name_of_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").touch()
    with pytest.raises(BadInput, match="has the name of"):
        import_plugin(tmp_path / "rich")


def test_ls_shows_what_an_entry_point_is_and_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "offered_package" / "dual.py", "dual_of_package", "Two [bold] networks.")
    (tmp_path / "offered_package" / "__init__.py").touch()
    info = tmp_path / "offered_package-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered-package\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[benchmark.methods]\ndual_of_package = offered_package.dual\ngone = offered_package.gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert command(monkeypatch, "ls", "methods") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("dual_of_package"))
    assert "Two [bold] networks." in line and "offered-package 1.2 (offered_package.dual)" in line
    assert "offered_package.dual" not in sys.modules, "nothing is imported to list it"
    (mine,) = [e for e in registry.entries("methods").values() if e.name == "cps"]
    assert mine.origin == "built-in" and registry.load("methods", "dual_of_package").__name__ == "Mine"
