"""The host does not wait for the device inside a step. Counted without a GPU; on one, CUDA itself is asked to object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.cell.optimiser import Optimiser
from benchmark.cell.training import _update
from methods.method import Method, Step, Task
from tests.benchmarks.scenes import METHODS, build
from tests.methods.conftest import make_task  # noqa: F401 - a fixture

LEAVING = ("cpu", "numpy", "tolist", "item", "__bool__", "__float__", "__int__", "__index__")
SIZED_BY_VALUES = ("aten.nonzero", "aten.masked_select", "aten._unique2", "aten.unique_dim")

BY_NATURE = {
    "abd": "largest components are labelled on the CPU",
    "bcp": "largest components are labelled on the CPU",
    "ema_self_training": "largest components are labelled on the CPU",
    "cctr": "how many anchors there are depends on the predictions",
    "contrastive": "how many anchors there are depends on the predictions",
    "ss_net": "how many pixels a class has depends on labels and predictions",
}
"""Methods that must wait, and why. All others may not."""


class HostWaits(TorchDispatchMode):
    """Within it, ``found`` counts the operations for which a host would wait if the tensors were on a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        for name in LEAVING:
            monkeypatch.setattr(torch.Tensor, name, self._counted(name, getattr(torch.Tensor, name)))

    def _counted(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.found[name] += 1
            return original(tensor, *args, **kwargs)

        return counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).rsplit(".", 1)[0]
        masks = name in ("aten.index", "aten.index_put", "aten.index_put_", "aten._index_put_impl_") and any(
            isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1])
        )
        if name in SIZED_BY_VALUES or name == "aten._local_scalar_dense" or masks:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def ready(task: Task, name: str) -> tuple[Method, Optimiser]:
    method = build(task, name).train()
    return method, Optimiser(method, task.protocol)


def update(method: Method, optimiser: Optimiser, index: int) -> None:
    task = method.task
    _update(method, optimiser, task.bank, task.protocol, 0, Step(index, 20))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_waits_for_nothing(make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch, name: str) -> None:  # noqa: F811
    method, optimiser = ready(make_task(), name)
    update(method, optimiser, 14)
    with HostWaits(monkeypatch) as waits:
        update(method, optimiser, 15)
    assert bool(waits.found) == (name in BY_NATURE), waits.found


def test_the_count_sees_every_way_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    x, index = torch.arange(6.0), torch.tensor(2)
    with HostWaits(monkeypatch) as waits:
        for act in (x.cpu, x.numpy, x.tolist, x.sum().item, lambda: float(x[0]), lambda: x[x > 2], lambda: x[index], x.unique):
            before = waits.found.total()
            act()
            assert waits.found.total() > before, act
    with HostWaits(monkeypatch) as waits:
        (x * 2).where(x > 2, 0.0).sum()
    assert not waits.found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", [name for name in METHODS if name not in BY_NATURE])
def test_cuda_objects_to_no_step(name: str) -> None:
    from tests.benchmarks.scenes import phantom_task

    method, optimiser = ready(phantom_task(device=torch.device("cuda"), preset="smoke"), name)
    update(method, optimiser, 14)
    torch.cuda.set_sync_debug_mode("error")
    try:
        update(method, optimiser, 15)
    finally:
        torch.cuda.set_sync_debug_mode("default")
