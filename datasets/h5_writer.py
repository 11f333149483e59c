"""Writing HDF5 where the disk may fill up: the library ends the process when a write of its own fails while it closes a file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.files import disk_full_is_told, make_way
from benchmark.ground.workers import cores

GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}
"""Quick to read and, unlike lzf, the same bytes each time."""


class _Forgiving:
    """An unbuffered file to which every write succeeds, as far as HDF5 is told; the first failure is kept, and nothing written after it."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.read, self.readinto, self.seek, self.tell = file.read, file.readinto, file.seek, file.tell
        self.failure: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of it, in as many pieces as the system takes it in."""
        left = memoryview(content)
        try:
            while len(left) and self.failure is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.failure = error
        return len(content)

    def truncate(self, size: int) -> int:
        """Make the file longer or shorter."""
        try:
            if self.failure is None:
                self.file.truncate(size)
        except OSError as error:
            self.failure = error
        return size

    def flush(self) -> None:
        """Nothing is buffered."""


class Writer:
    """An HDF5 file that is being written."""

    def __init__(self, file: h5py.File, beneath: _Forgiving, pool: ThreadPoolExecutor) -> None:
        self.file, self._beneath, self._pool = file, beneath, pool

    def add(self, name: str, data: Any, **options: Any) -> None:
        """Add an array; ``options`` as h5py has them.

        Raises:
            OSError: it, or something before it, could not be written: the disk is full.
        """
        self.file.create_dataset(name, data=data, **options)
        if self._beneath.failure:
            raise self._beneath.failure

    def add_slices(self, name: str, data: np.ndarray) -> None:
        """Add an array (..., H, W) in GZIP, a chunk a slice, compressed by all cores: the bytes that HDF5, on one, would write.

        Raises:
            OSError: as ``add``.
        """
        places = list(np.ndindex(data.shape[:-2]))
        chunks = (1,) * (data.ndim - 2) + data.shape[-2:]
        array = self.file.create_dataset(name, data.shape, data.dtype, chunks=chunks, shuffle=data.itemsize > 1, **GZIP)
        for place, content in zip(places, self._pool.map(_compressed, (data[place] for place in places)), strict=True):
            array.id.write_direct_chunk((*place, 0, 0), content)
        if self._beneath.failure:
            raise self._beneath.failure


def _compressed(chunk: np.ndarray) -> bytes:
    """As HDF5's filters make it: first bytes first, then deflated."""
    values = np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, chunk.itemsize)
    return zlib.compress(values.T.tobytes(), GZIP["compression_opts"])


@contextmanager
def writing_h5(path: Path, mode: Literal["w", "r+"]) -> Iterator[Writer]:
    """The file at ``path``, new or to be added to.

    Raises:
        OSError: something could not be written; the file is not whole then.
    """
    with open(path, "w+b" if mode == "w" else "r+b", buffering=0) as file:
        beneath = _Forgiving(file)
        try:
            with ThreadPoolExecutor(cores()) as pool, h5py.File(beneath, mode) as opened:
                yield Writer(opened, beneath, pool)
        except (OSError, RuntimeError) as error:
            raise beneath.failure or error from None  # what HDF5 says once it reads back what was not written misleads
        if beneath.failure:
            raise beneath.failure


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary file beside ``file`` that takes its place at the end, if nothing was raised."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with disk_full_is_told(file.parent):
            yield temporary
            make_way(file)
            os.replace(temporary, file)
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"{file} cannot be written ({reason}); check its folder and permissions") from error
    finally:
        temporary.unlink(missing_ok=True)
