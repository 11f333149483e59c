"""Cell folders on disk: atomic, locked, checksummed. The records here are the truth; everything else can be rebuilt from them.

    <store>/<dataset>/<method>/<cell id>/
      cell.json  history.csv  checkpoint.pt (while running)  model.safetensors  cases.csv  record.json  .done

A file becomes visible only when it is whole. ``.done`` holds the checksums of the others and is written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmark.grid import Cell, digest

DONE = ".done"
CASE_COLUMNS = ["test_set", "case", "volume", "class", "network", "selection", "metric", "value"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write so that ``path`` is either the old file or the whole new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@dataclass(frozen=True)
class CellFolder:
    """A cell's folder, and what may be asked of it."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The exact state for resuming; gone once the cell is finished."""
        return self.path / "checkpoint.pt"

    def done(self, *names: str) -> bool:
        """Whether the cell is finished and every file, or those named, is as it was written."""
        try:
            sums = json.loads((self.path / DONE).read_text())
            return all(_checksum((self.path / name).read_bytes()) == sums[name] for name in names or sums.keys())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def record(self) -> dict[str, Any] | None:
        """The cell's record, of success or failure; None where there is none (yet)."""
        try:
            return json.loads((self.path / "record.json").read_text())
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the cell; yields False where another process holds it. The operating system lets go when the holder dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def plan(self, cell: Cell) -> None:
        """Put down what the cell is, once: reports show that it was asked for."""
        if not (self.path / "cell.json").exists():
            self.write("cell.json", cell.model_dump_json(indent=1))

    def write(self, name: str, content: bytes | str) -> None:
        """Write one of the cell's files atomically."""
        write_atomically(self.path / name, content.encode() if isinstance(content, str) else content)

    def finish(self, files: dict[str, bytes | str]) -> None:
        """Write the final files, then ``.done`` with their checksums, then drop the checkpoint."""
        for name, content in files.items():
            self.write(name, content)
        self.write(DONE, json.dumps({name: _checksum((self.path / name).read_bytes()) for name in files}, indent=1))
        self.checkpoint.unlink(missing_ok=True)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Store:
    """A folder of cells."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, cell: Cell) -> CellFolder:
        """Where the cell lives."""
        return CellFolder(self.root / cell.dataset / cell.method / cell.id)

    def folders(self) -> list[CellFolder]:
        """Every cell that has a record, finished or failed."""
        return [CellFolder(path.parent) for path in sorted(self.root.glob("*/*/*/record.json"))]

    def planned(self) -> list[CellFolder]:
        """Every cell that a command has asked for, whether it has run or not."""
        found = {path.parent for name in ("cell.json", "record.json") for path in self.root.glob(f"*/*/*/{name}")}
        return [CellFolder(path) for path in sorted(found)]

    @property
    def registrations(self) -> Path:
        """Folder of cached registrations, shared by all cells."""
        return self.root / "cache" / "registration"

    @property
    def datasets(self) -> Path:
        """Folder of prepared datasets, which cells read."""
        return self.root / "cache" / "datasets"

    @property
    def report(self) -> Path:
        """Folder of the report on this store."""
        return self.root / "report"


def describe_cell(cell: Cell) -> dict[str, Any]:
    """The part of a record that is known before a cell runs."""
    return {
        "cell": cell.id,
        "dataset": cell.dataset,
        "kind": cell.kind,
        "method": cell.method,
        "variant": cell.variant,
        "labels": cell.labels,
        "draw": cell.draw,
        "seed": cell.seed,
        "protocol": cell.protocol.name,
        "steps": cell.protocol.steps,
        "command": cell.command,
        "trial": cell.trial and cell.trial.model_dump(mode="json"),
        "tuning": cell.tuning and cell.tuning.model_dump(mode="json"),
        "hparams": cell.hparams,
        "labelled": list(cell.labelled),
        "data_hash": cell.data_hash,
        "draw_hash": digest(cell.labelled),
        "protocol_hash": digest(cell.protocol.model_dump(mode="json")),
    }
