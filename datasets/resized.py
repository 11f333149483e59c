"""The images of a training set at a protocol's pixels: made once for all cells, kept in a store's cache, looked at where they lie.

A thousand abdomens are tens of gigabytes at any size; every cell of a grid maps the same file, of which memory holds what is in use.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.ground.errors import BadInput
from benchmark.ground.files import disk_full_is_told, is_whole, note_sum, one_at_a_time, set_aside
from datasets.dataset import Volume
from datasets.slices import resize_image, resized


def resized_once(volumes: Sequence[Volume], size: int, folder: Path, name: str) -> Tensor:
    """``slices.resized`` of these volumes, mapped from the file ``name`` in ``folder``, which is written where there is none; in memory
    where nothing can be written. What is changed in the tensor changes in this process alone.

    name: says which volumes these are, and which code resizes them.
    """
    file = folder / f"{name}-{size}.npy"
    with contextlib.suppress(OSError, BadInput):
        with disk_full_is_told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(file.with_suffix(".lock")):
            if not is_whole(file):
                if os.path.lexists(file):
                    set_aside(file, "is not as it was written")
                _write(file, volumes, size)
        return torch.from_numpy(np.load(file, mmap_mode="c"))
    return resized(volumes, size)


def _write(file: Path, volumes: Sequence[Volume], size: int) -> None:
    """Volume by volume, so that memory holds one; the file is there whole or not at all. The lock is ours."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with disk_full_is_told(file.parent):
            with temporary.open("wb") as opened:
                for number, volume in enumerate(volumes):
                    part = resize_image(volume, size).contiguous().numpy()
                    if number == 0:
                        shape = (sum(v.shape[0] for v in volumes), *part.shape[1:])
                        about = {"descr": part.dtype.str, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(opened, about)
                    opened.write(part.data)
            os.replace(temporary, file)
        note_sum(file)
    finally:
        temporary.unlink(missing_ok=True)
