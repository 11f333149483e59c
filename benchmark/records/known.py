"""What was found of finished cells when they were last looked at: an index in a store's cache, so that ``ls cells`` and ``run`` need not
read a hundred thousand cells again.

It is rebuilt, never trusted: a cell any of whose files has been written or copied since is looked at again, and so is every cell once a
line of this project's code has changed. Of plug-ins' methods, whose code may be anywhere, nothing is kept.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import astuple, dataclass
from typing import Any

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.files import file_state, read_plain, write_atomically
from benchmark.records.fingerprint import sources
from benchmark.records.identity import Cell
from benchmark.records.store import BEST, DONE, SMALL, WEIGHTS, CellFolder, Store

FILE = "cells.json"
VERSION = 1
LOOKED_AT = (DONE, *SMALL, WEIGHTS, BEST)


@dataclass(frozen=True)
class About:
    """What lists say of a cell."""

    dataset: str
    protocol: str
    labels: int
    variant: str
    draw: int
    seed: int
    text: str

    @classmethod
    def of(cls, cell: Cell) -> About:
        """Of a cell that was read."""
        return cls(cell.dataset, cell.protocol.title, cell.labels, cell.variant, cell.draw, cell.seed, str(cell))


class Known:
    """The index of a store. ``save`` it after cells were ``learn``ed."""

    def __init__(self, store: Store) -> None:
        self._path = store.cache / FILE
        self._head = [VERSION, sources()]
        self._cells: dict[str, list[Any]] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(read_plain(self._path))
            if isinstance(found, dict) and found.get("of") == self._head and isinstance(found.get("cells"), dict):
                self._cells = found["cells"]

    def state(self, folder: CellFolder) -> int:
        """A number that is another once one of the cell's files has been written again, or copied."""
        path = str(folder.path)
        return hash(tuple(file_state(f"{path}/{name}") for name in LOOKED_AT))

    def find(self, folder: CellFolder, state: int) -> tuple[About, bool, str] | None:
        """What is known of a finished cell that is in this state: what it is, whether its code is this code, and what there is to say."""
        with contextlib.suppress(KeyError, TypeError, ValueError):
            seen, current, note, *about = self._cells[_place(folder)]
            if seen == state:
                return About(*about), bool(current), str(note)
        return None

    def learn(self, folder: CellFolder, state: int, cell: Cell, current: bool, note: str) -> None:
        """A finished cell was looked at, in this state, and is as it was written."""
        with contextlib.suppress(BadInput):
            if not registry.check_name("methods", cell.method).plugin:
                self._cells[_place(folder)] = [state, current, note, *astuple(About.of(cell))]
                self._changed = True

    def save(self) -> None:
        """Keep what was learnt, where the store can be written."""
        if self._changed:
            with contextlib.suppress(OSError, BadInput):
                write_atomically(self._path, json.dumps({"of": self._head, "cells": self._cells}).encode(), durable=False)


def _place(folder: CellFolder) -> str:
    return "/".join(str(folder.path).rsplit("/", 3)[-3:])
