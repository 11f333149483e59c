"""Moving what is drawn on the host to where the slices are."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor in main memory on ``device``. The host does not wait for a GPU, as it would for pageable memory."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
