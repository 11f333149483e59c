"""What every dataset must keep, whatever its layout: checked once, on the way into a prepared file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmark.ground.environment import free_memory
from benchmark.ground.errors import BadInput
from datasets.dataset import IGNORE, Dataset, Volume
from datasets.readers import MAX_SPACING, MIN_SPACING

PLAIN_PIXELS = 64
"""A slice with fewer pixels that differ from its first one is background, which any two patients may share."""


ROOM = 16
"""Times the largest case so far: with less memory free, no case is read ahead."""


def uses(dataset: Dataset) -> dict[str, str]:
    """Each case's use: train, unlabelled, val, or a test set's name.

    Raises:
        BadInput: a case has two uses.
    """
    split = dataset.split
    parts = {"train": split.train, "unlabelled": split.unlabelled, "val": split.val} | split.tests
    found: dict[str, str] = {}
    for use, cases in parts.items():
        for case in cases:
            if case in found:
                raise BadInput(
                    f"{where(dataset)}: {case} is in {found[case]} and in {use}; expected each case in one split; remove it from one"
                )
            found[case] = use
    return found


def checked(dataset: Dataset) -> Iterator[tuple[Volume, str]]:
    """Every volume of the dataset with its label and its use, each checked before it is handed out.

    Raises:
        BadInput: a file or a value breaks a rule of the layout or of ``check_volume``, a case has two uses, or two splits hold the same
            slice of an image.
    """
    owner: dict[bytes, tuple[str, str]] = {}
    names: set[str] = set()
    for use, volumes in _read_ahead(dataset):
        for volume in volumes:
            check_volume(dataset, volume, use)
            if volume.name in names:
                raise BadInput(f"{where(dataset)}: two volumes are called {volume.name}; expected each name once; rename one")
            names.add(volume.name)
            split = "train" if use == "unlabelled" else use
            for number, content in _slices(volume):
                other, other_split = owner.setdefault(content, (volume.name, split))
                if other_split != split:
                    raise BadInput(
                        f"{where(dataset)}: {volume.name} ({split}) and {other} ({other_split}) hold the same image, first seen in"
                        f" slice {number} of {volume.name}; expected no image in two splits; remove one of the cases"
                    )
            yield volume, use
            del volume  # not kept while the next case is read
        del volumes


def _read_ahead(dataset: Dataset) -> Iterator[tuple[str, tuple[Volume, ...]]]:
    """The use of each case, and its volumes; the next case is read meanwhile, in a thread, where memory has room for it."""
    cases, coming, largest = list(uses(dataset).items()), None, 0

    def read(case: str, use: str) -> tuple[Volume, ...]:
        return dataset.read(case, labels=use != "unlabelled")

    with ThreadPoolExecutor(1) as pool:
        for number, (case, use) in enumerate(cases, 1):
            volumes = coming.result() if coming else read(case, use)
            largest = max(largest, sum(volume.image.nbytes for volume in volumes))
            room = number < len(cases) and free_memory() > ROOM * largest
            coming = pool.submit(read, *cases[number]) if room else None
            yield use, volumes
            del volumes


def check_volume(dataset: Dataset, volume: Volume, use: str) -> None:
    """Raises BadInput unless the volume is what ``Volume`` says and its label is there where its use needs one."""

    def refuse(found: str, expected: str) -> BadInput:
        return BadInput(f"{where(dataset)}: {volume.name} {found}; expected {expected}; correct its file")

    image, label = volume.image, volume.label
    if image.ndim != 4 or image.shape[0] != dataset.channels or not image.size:
        raise refuse(f"has an image of shape {image.shape}", f"{dataset.channels} channels of slices, height and width")
    if image.dtype != np.float32 or not (image.min() >= 0 and image.max() <= 1):  # NaN compares false
        found = f"has intensities from {image.min():g} to {image.max():g} ({image.dtype})"
        raise refuse(found, "finite float32 in [0, 1]")
    if not all(MIN_SPACING <= step <= MAX_SPACING for step in volume.spacing):
        raise refuse(f"has spacing {volume.spacing}", f"{MIN_SPACING:g} to {MAX_SPACING:g} mm")
    if label is None:
        if use != "unlabelled":
            raise refuse(f"has no label and is used for {use}", "one")
    elif label.shape != image.shape[1:]:
        raise refuse(f"has an image of {image.shape[1:]} and a label of {label.shape}", "one shape")
    elif label.dtype != np.uint8 or (label[label != IGNORE] >= len(dataset.classes)).any():
        raise refuse(
            f"has labels up to {label[label != IGNORE].max()} ({label.dtype})",
            f"uint8 classes from 0 to {len(dataset.classes) - 1}",
        )


def where(dataset: Dataset) -> str:
    """How messages call a dataset as a whole: its path, or its name where it has none."""
    return str(dataset.path or dataset.name)


def _slices(volume: Volume) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and hash of each slice that shows more than background."""
    for number, image in enumerate(volume.image.swapaxes(0, 1), start=1):
        if np.count_nonzero(image != image.flat[0]) >= PLAIN_PIXELS:
            yield number, hashlib.blake2b(image.tobytes(), digest_size=16).digest()
