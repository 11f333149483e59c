"""The hash of what a dataset hands out, by which cells know their data: the same from raw, prepared or packed files, on every machine.

It is a hash of the volumes' hashes: a prepared file that lists those needs no reading through to say what it holds, and whoever reads a
volume of it can tell whether it is that one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict

import numpy as np
from pydantic import BaseModel

from datasets.checks import checked, uses
from datasets.dataset import Dataset, Volume


class Entry(BaseModel):
    """A volume without its voxels: what it is, and the hashes of its image and label (None where there is no label)."""

    name: str
    case: str
    spacing: tuple[float, float, float]
    spacing_known: bool
    image: str | None = None
    label: str | None = None


def entry_of(volume: Volume) -> Entry:
    """The entry of a volume, with the label that it has."""
    label = None if volume.label is None else array_hash(volume.label)
    z, y, x = map(float, volume.spacing)
    return Entry(
        name=volume.name,
        case=volume.case,
        spacing=(z, y, x),
        spacing_known=volume.spacing_known,
        image=array_hash(volume.image),
        label=label,
    )


def array_hash(array: np.ndarray) -> str:
    """Hash (hex) of an image's or a label's shape and values."""
    total = hashlib.blake2b(json.dumps(array.shape).encode(), digest_size=16)
    total.update(np.ascontiguousarray(array, "<f4" if array.dtype.kind == "f" else "u1").data)
    return total.hexdigest()


def digest(dataset: Dataset, entries: Iterable[Entry]) -> str:
    """Hash (hex) of a dataset of these volumes, in the order of ``checked``: its name, classes, split and groups are part of it."""
    about = [
        dataset.name,
        dataset.classes,
        dataset.channels,
        dataset.spacing_known,
        asdict(dataset.split),
        dataset.train_groups,
    ]
    lines = [about, *(entry.model_dump() for entry in entries)]
    return hashlib.blake2b(json.dumps(lines, sort_keys=True).encode(), digest_size=16).hexdigest()


def read_through(dataset: Dataset, tell: Callable[[int, int], None] = lambda done, total: None) -> str:
    """The hash of all that a dataset hands out, every volume checked on the way. tell: called with (cases done, in all).

    Raises:
        BadInput: as ``checked``.
    """
    entries, done, total = list[Entry](), set[str](), len(uses(dataset))
    for volume, _ in checked(dataset):
        entries.append(entry_of(volume))
        done.add(volume.case)
        tell(len(done), total)
        del volume  # or it stays while the next is read
    return digest(dataset, entries)


def hash_of(dataset: Dataset) -> str:
    """``read_through``, once: the same data has the same hash, whatever files it lies in.

    Raises:
        BadInput: a file or a value breaks a rule.
    """
    if dataset.contents is None:
        dataset.contents = read_through(dataset)
    return dataset.contents
