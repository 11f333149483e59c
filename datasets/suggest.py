"""What lies in a folder of unknown layout, and which dataset reads it: ``prepare --suggest``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from datasets.formats import ITK, NIFTI, ending_of

MOST = 20_000
"""Files that are looked at."""

SIGNS = {
    "acdc": ("train_slices.list", "train_slices.txt", "training/patient*"),
    "synapse": ("train_npz", "test_vol_h5"),
    "la": ("*/mri_norm2.h5", "2018LA*"),
    "pancreas": ("Pancreas_h5", "*_norm.h5"),
    "mnms": ("Training", "*information*.csv"),
    "mnms2": ("dataset/*/*_SA_ED.nii.gz", "dataset_information.csv"),
    "nnunet": ("dataset.json", "imagesTr/*_0000.*"),
    "decathlon": ("dataset.json", "imagesTr/*.nii*"),
    "folder": ("cases.csv", "imagesTr"),
    "images": ("[Ii]mages", "imgs", "[Tt]rain/[Ii]mages"),
}
"""What a layout of each dataset has; who has more of them is tried first."""

ALIKE = ("nnunet", "decathlon", "folder")
"""They read a dataset.json alike: the likeliest is named."""


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
    readable: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name in _likely(path):
        if name in ALIKE and readable.keys() & ALIKE:
            continue
        try:
            dataset = registry.load("datasets", name)(path)
            split = dataset.split
        except BadInput as error:
            refused.setdefault(str(error), f"--dataset {name} does not: {error}")
            continue
        tests = sum(map(len, split.tests.values()))
        readable[name] = (
            f"--dataset {name} reads it: {len(split.train)} labelled training, {len(split.unlabelled)} unlabelled,"
            f" {len(split.val)} validation and {tests} test cases (by names and headers; prepare reads every file)"
        )
    lines += readable.values() or refused.values()
    if not readable:
        inner = [home for home in sorted(path.iterdir()) if home.is_dir() and _likely(home)]
        lines += [f"{inner[0]} looks like a layout that is known; name that folder with --data"] if inner else []
    if not readable and not refused and not inner:
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
    if not names and any(any(path.glob(f"*/*{ending}")) for ending in (*NIFTI, *ITK)):
        names = ["folder"]
    return names
