"""The method that the README shows is one: it is taken from there, registered, built and trained."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark import registry
from methods.method import Step, Task


def test_the_readme_s_method_trains(make_task: Callable[..., Task], tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "readme_method.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("readme_method", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["readme_method"] = module
    spec.loader.exec_module(module)
    method_class = registry._registered.pop("entropy_min")
    torch.manual_seed(0)
    method = method_class(make_task(), method_class.Hparams(weight=0.3))
    terms = method.losses(method.task.bank.batch(0, 0, 3, 3), Step(10, 20))
    assert set(terms) == {"supervised", "entropy"} and all(value > 0 for value in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in method.parameters())
    assert method.predictions(method.task.bank.image[:2])["network"].shape == (2, 4, 32, 32)
