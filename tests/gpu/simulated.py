"""A second device without one: tensors that say they lie on ``meta`` and hold real numbers, so that code runs on it as on a GPU.

An operation on tensors of two devices raises, as it does with a GPU: 0-dim tensors of the CPU go anywhere, and CPU indices into any tensor.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class Held(torch.Tensor):
    """A tensor on the simulated device; ``inner`` are its numbers, on the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Held:
        layout: dict[str, Any] = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        held = torch.Tensor._make_wrapper_subclass(cls, inner.shape, device=DEVICE, **layout)
        held.inner = inner
        return held

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(function, args, kwargs or {})

    def tolist(self) -> Any:  # which subclasses have not
        return self.inner.tolist()


class Dispatch(TorchDispatchMode):
    """Has tensors that are made on DEVICE be ``Held``."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(function, args, kwargs or {})


def carry_out(function: Any, args: Any, kwargs: Any) -> Any:
    """An operation on the numbers of its arguments; the result lies where the arguments do or where it was asked for."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    held = [tensor for tensor in tensors if isinstance(tensor, Held)]
    on_cpu = [tensor for tensor in tensors if not isinstance(tensor, Held) and tensor.dim() > 0]
    free = function in COPIES or (function in INDEXED and isinstance(args[0], Held))
    if held and on_cpu and not free:
        raise RuntimeError(f"{function}: expected all tensors to be on the same device, found {DEVICE} and cpu")
    asked = kwargs.get("device")
    there = bool(held) if asked is None else torch.device(asked) == DEVICE
    inner_args, inner_kwargs = tree_map_only(Held, lambda tensor: tensor.inner, (args, kwargs))
    if asked is not None:
        inner_kwargs = inner_kwargs | {"device": torch.device("cpu")}
    found = function(*inner_args, **inner_kwargs)
    returns = function._schema.returns
    if not returns:
        return None
    if returns[0].alias_info is not None and returns[0].alias_info.is_write:
        return args[0]
    return tree_map_only(torch.Tensor, Held, found) if there else found


@contextlib.contextmanager
def second_device() -> Iterator[torch.device]:
    """While the body runs, DEVICE computes."""
    make = torch.tensor

    def tensor(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        made = make(data, **options)
        return made if device is None else made.to(device)

    def new_tensor(like: torch.Tensor, data: Any) -> torch.Tensor:
        return tensor(data, device=like.device, dtype=like.dtype)

    # Made from Python's numbers on ``meta``, a tensor has none.
    with Dispatch(), mock.patch.object(torch, "tensor", tensor), mock.patch.object(torch.Tensor, "new_tensor", new_tensor):
        yield DEVICE
