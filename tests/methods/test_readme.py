"""The example of docs/plugins.md is examples/my_method.py, and it trains."""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from benchmark.ground import registry
from methods.method import Step, Task

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_shows_the_example_file() -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    example = (ROOT / "examples" / "my_method.py").read_text()
    assert code == example and len(example.splitlines()) < 40


def test_the_example_trains(make_task: Callable[..., Task], monkeypatch) -> None:
    monkeypatch.setenv(registry.PLUGINS, str(ROOT / "examples" / "my_method.py"))
    method_class = registry.load("methods", "flip_consistency")
    torch.manual_seed(0)
    method = method_class(make_task(), method_class.Hparams())  # type: ignore[attr-defined]
    terms = method.losses(method.task.bank.batch(0, 0, 3, 3), Step(10, 20))
    assert set(terms) == {"supervised", "consistency"} and all(value > 0 for value in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in method.parameters())
    assert method.predictions(method.task.bank.image[:2])["network"].shape == (2, 4, 32, 32)
