"""What lies in a folder of unknown layout, and which dataset reads it: ``prepare --suggest``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from datasets.formats import ending_of

MOST = 20_000
"""Files that are looked at."""

SIGNS = {
    "acdc": ("train_slices.list", "training/patient*"),
    "synapse": ("train_npz", "test_vol_h5"),
    "la": ("train.list",),
    "mnms": ("Training", "*information*.csv"),
    "nnunet": ("dataset.json",),
    "folder": ("cases.csv", "imagesTr"),
    "images": ("images", "imgs", "train/images"),
}
"""What a layout of each dataset has; who has more of them is tried first."""


def suggest(path: Path) -> list[str]:
    """Lines on what is in the folder, on each built-in dataset that reads it or nearly does, and on what is missing.

    Raises:
        BadInput: there is no such folder.
    """
    if not os.path.isdir(path):
        raise BadInput(f"{path} is not a folder; expected the one that holds the data; correct --data")
    files = list(islice(_files(path), MOST))
    kinds = Counter(ending_of(file.name).lower() or file.suffix.lower() or "no ending" for file in files)
    held = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6)) or "no files"
    top = ", ".join(sorted(entry.name for entry in path.iterdir())[:8])
    lines = [f"{path} holds {held}; at its top: {top or 'nothing'}"]
    readable, refused = [], []
    for name in _likely(path):
        try:
            dataset = registry.load("datasets", name)(path)
            split = dataset.split
        except BadInput as error:
            refused.append(f"--dataset {name} does not: {error}")
            continue
        tests = sum(map(len, split.tests.values()))
        readable.append(
            f"--dataset {name} reads it: {len(split.train)} labelled training, {len(split.unlabelled)} unlabelled,"
            f" {len(split.val)} validation and {tests} test cases (by names and headers; prepare reads every file)"
        )
    lines += readable or refused
    if not readable:
        inner = [
            p.parent for name in ("dataset.json", "cases.csv", "train_slices.list", "imagesTr") for p in path.glob(f"*/{name}")
        ]
        lines += [f"{inner[0]} looks like a layout that is known; name that folder with --data"] if inner else []
    if not readable and not refused:
        lines.append(
            "no layout is recognised: list the files in cases.csv (columns case, image, label, split), or see docs/data.md"
        )
    return lines


def _files(path: Path) -> Iterator[Path]:
    return (Path(home) / name for home, _, names in os.walk(path) for name in sorted(names) if not name.startswith("."))


def _likely(path: Path) -> list[str]:
    """Datasets whose signs are there, those with most first; ``folder`` where images lie in folders of their own."""
    found = {name: sum(any(path.glob(sign)) for sign in signs) for name, signs in SIGNS.items()}
    names = [name for name in sorted(found, key=lambda name: -found[name]) if found[name]]
    if not names and any(path.glob("*/*.nii*")):
        names = ["folder"]
    return names
