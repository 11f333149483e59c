"""Which code made a result: what changes a method's fingerprint, and what does not."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import PROTOCOLS
from benchmark.records import fingerprint
from benchmark.records.fingerprint import Code, code_of, is_current, what_changed
from benchmark.records.identity import Cell
from benchmark.study.grid import resolve

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, pathlib, sys
from benchmark.records import fingerprint
from benchmark.ground import registry


def codes():
    fingerprint._source.cache_clear()
    fingerprint._method_code.cache_clear()
    return {name: fingerprint.method_code(name) for name in registry.entries("methods")}


found = [codes()]
for file, old, new in json.load(sys.stdin):
    path = pathlib.Path(file)
    text = path.read_text()
    assert old in text, (file, old)
    path.write_text(text.replace(old, new, 1))
    found.append(codes())
    path.write_text(text)
print(json.dumps([found, "torch" in sys.modules]))
"""
Edit = tuple[str, str, str]
SWIN = {"cctr", "cross_teaching", "mcsc"}
PLUGIN = '''
"""A plug-in with two methods that share nothing but a base."""
from torch import Tensor
from methods import register, supervised_loss
from methods.supervised import Supervised
import {helper}

FACTOR = 2


def scaled(loss: Tensor) -> Tensor:
    return FACTOR * loss


@register("first")
class First(Supervised):
    """The first."""

    def losses(self, batch, step):
        return {{name: scaled(term) for name, term in super().losses(batch, step).items()}}


@register("second")
class Second(Supervised):
    """The second."""

    def losses(self, batch, step):
        return {{name: {helper}.halved(term) for name, term in super().losses(batch, step).items()}}
'''
HELPER = "def halved(x):\n    return x / 2\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that a test may change, with a plug-in of two methods and a module that it imports."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in ("benchmark", "methods", "datasets", "reports"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "plug").mkdir()
    (folder / "plug" / "mine.py").write_text(PLUGIN.format(helper="plug_helper"))
    (folder / "plug" / "plug_helper.py").write_text(HELPER)
    return folder


def codes(checkout: Path, edits: list[Edit], plugin: bool = False) -> list[dict[str, str]]:
    """Every method's fingerprint, before and after each edit, as a fresh process sees it; edits (file, old, new) are taken back."""
    more = {"PYTHONPATH": str(checkout / "plug")} | (
        {"BENCHMARK_PLUGINS": str(checkout / "plug" / "mine.py")} if plugin else {}
    )
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=checkout,
        env=more,
        input=json.dumps(edits),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found, torch = json.loads(ran.stdout)
    assert plugin or not torch
    return found


def changed(checkout: Path, edits: list[Edit], plugin: bool = False) -> list[set[str]]:
    """For each edit, the methods whose fingerprint it changes."""
    before, *after = codes(checkout, edits, plugin)
    return [{name for name in before if before[name] != found[name]} for found in after]


def test_an_edit_changes_the_methods_that_it_concerns_and_no_others(checkout: Path) -> None:
    trained = set(registry.built_ins("methods")) - {"label_propagation"}
    components, *found = changed(
        checkout,
        [
            (
                "methods/parts/losses.py",
                "largest_components(label: Tensor)",
                "largest_components(label: Tensor, more: int = 0)",
            ),
            ("methods/cps.py", "return cross_entropy(logits, pseudo)", "return 2 * cross_entropy(logits, pseudo)"),
            ("methods/parts/losses.py", "SMOOTHING = 1e-5", "SMOOTHING = 1e-6"),
            ("methods/networks/swin_unet.py", "nn.LayerNorm(", "nn.BatchNorm1d("),
            ("methods/networks/unet.py", "nn.LeakyReLU(", "nn.ReLU("),
            ("methods/label_propagation.py", "labels = [warp_label(", "labels = [0 + warp_label("),
            ("datasets/acdc/slices.py", "import", "import os  # a reader\nimport"),
            ("methods/mean_teacher.py", "low=", "low=0 * "),
        ],
    )
    assert "bcp" in components and not components & {"supervised", "mean_teacher", "cctr"}
    assert found == [{"cps"}, trained, SWIN, trained, {"label_propagation"}, set(), set()]


def test_formatting_comments_and_docstrings_change_nothing(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    for path in (copy / "methods").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                node.body[0] = ast.Expr(ast.Constant("Another docstring."))
        path.write_text("# A comment.\n" + ast.unparse(ast.fix_missing_locations(tree)).replace("    ", "  "))
    assert codes(copy, []) == codes(checkout, [])


def test_a_plug_in_is_its_class_and_what_it_uses_of_its_own_modules(checkout: Path, tmp_path: Path) -> None:
    *found, base = changed(
        checkout,
        [
            ("plug/mine.py", "FACTOR = 2", "FACTOR = 3"),
            ("plug/mine.py", "return FACTOR * loss", "return loss * FACTOR"),
            ("plug/mine.py", "halved(term)", "halved(term) + 0"),
            ("plug/plug_helper.py", "x / 2", "x / 3"),
            ("plug/mine.py", '"""The first."""', '"""The first of two."""'),
            ("methods/supervised.py", "supervised_loss(", "-supervised_loss("),
        ],
        plugin=True,
    )
    assert found == [{"first"}, {"first"}, {"second"}, {"second"}, set()]
    assert {"first", "second", "supervised"} <= base
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkout, copy)
    assert codes(copy, [], plugin=True) == codes(checkout, [], plugin=True)  # a file may move


DOORS = "from datasets import Batch\nfrom methods import OneNetwork, Step, View, register, tunable\n"
MODULES = """from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, tunable
"""
LOGITS: Edit = (
    "methods/bases/one_network.py",
    "torch.softmax(logits[labelled:], 1)",
    "torch.softmax(2 * logits[labelled:], 1)",
)
TWO: Edit = ("methods/bases/co_training.py", "(a + b) / 2", "(b + a) / 2")


def with_plug_in(checkout: Path, folder: Path, text: str) -> Path:
    """A copy of the checkout whose plug-in is ``text``."""
    shutil.copytree(checkout, folder)
    (folder / "plug" / "mine.py").write_text(text)
    return folder


def test_a_plug_in_that_imports_from_the_doors_is_the_one_that_imports_from_the_modules(checkout: Path, tmp_path: Path) -> None:
    example = (ROOT / "examples" / "my_method.py").read_text()
    doors = with_plug_in(checkout, tmp_path / "doors", example)
    base, two, more, *same = changed(
        doors,
        [
            LOGITS,
            TWO,
            ("methods/__init__.py", "import CoTraining, Views", "import Views"),
            ("plug/mine.py", DOORS, MODULES),
            ("plug/mine.py", "from datasets import Batch", "from datasets.slices import Batch"),
            ("plug/mine.py", "View, register, tunable", "View, tunable\nfrom datasets import register"),
        ],
        plugin=True,
    )
    assert "flip_consistency" in base and "cps" in two and not two & {"flip_consistency"} and not more
    assert same == [set(), set(), set()]


def test_of_a_door_that_is_imported_whole_all_names_count(checkout: Path, tmp_path: Path) -> None:
    example = (ROOT / "examples" / "my_method.py").read_text()
    whole = example.replace("OneNetwork, ", "", 1).replace("OneNetwork", "methods.OneNetwork")
    whole = whole.replace("import torch\n", "import torch\nimport methods\n", 1)
    base, two = changed(with_plug_in(checkout, tmp_path / "whole", whole), [LOGITS, TWO], plugin=True)
    assert "flip_consistency" in base and "flip_consistency" in two


def test_a_plug_in_s_own_package_may_have_a_door(checkout: Path, tmp_path: Path) -> None:
    copy = with_plug_in(
        checkout, tmp_path / "copy", PLUGIN.format(helper="lazy").replace("import lazy", "from lazy import halved")
    )
    plug = copy / "plug" / "mine.py"
    plug.write_text(plug.read_text().replace("lazy.halved", "halved"))
    (copy / "plug" / "lazy").mkdir()
    (copy / "plug" / "lazy" / "real.py").write_text(HELPER)
    (copy / "plug" / "lazy" / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .real import halved\n\n"
        "def __getattr__(name):\n    from .real import halved\n    return {'halved': halved}[name]\n"
    )
    assert changed(copy, [("plug/lazy/real.py", "x / 2", "x / 3")], plugin=True) == [{"second"}]


def cell(method: str, **hparams: object) -> Cell:
    chosen = resolve("test", method, hparams)
    return Cell(
        dataset="phantom",
        data_hash="0",
        method=method,
        variant=chosen.variant,
        hparams=chosen.hparams,
        labels=1,
        draw=0,
        seed=0,
        labelled=("a",),
        protocol=PROTOCOLS["smoke"],
    )


def test_the_registration_s_configuration_counts_where_registration_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    users = [cell("cctr"), cell("mean_teacher", rsl=True), cell("label_propagation")]
    others = [cell("mean_teacher"), cell("cctr", rsl=False, reps=False), cell("supervised")]
    before = [code_of(each) for each in users + others]
    assert all(is_current(each, code) for each, code in zip(users + others, before, strict=True))
    from datasets import registration

    class More(registration.RegistrationConfig):
        keep: int = 7

    with monkeypatch.context() as patched:
        patched.setattr(registration, "RegistrationConfig", More)
        assert [is_current(each, code) for each, code in zip(users + others, before, strict=True)] == [False] * 3 + [True] * 3
        assert what_changed(users[0], before[0]) == "registration has changed"
    monkeypatch.setattr(fingerprint, "HARNESS", fingerprint.HARNESS + 1)
    assert not any(is_current(each, code) for each, code in zip(users + others, before, strict=True))


def test_unknown_code_is_never_current() -> None:
    assert not is_current(cell("supervised"), None)
    assert what_changed(cell("supervised"), None) == "its code was not noted"
    now = code_of(cell("supervised"))
    other = Code(method="other", registration=None, harness=0)
    assert what_changed(cell("supervised"), now) == "" and now.id != other.id
    assert what_changed(cell("supervised"), other) == "the method has changed, training or evaluation has changed"


def test_hyper_parameters_that_a_method_no_longer_takes_are_one_sentence() -> None:
    old = cell("supervised").model_copy(update={"hparams": {"gone": 1}})
    with pytest.raises(BadInput, match="gone"):
        code_of(old)
    assert what_changed(old, Code(method="other", registration=None, harness=fingerprint.HARNESS)) == "the method has changed"
