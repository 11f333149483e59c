"""Writing prepared datasets: without loss into a store's cache, or packed in 8 or 16 bits with registrations to travel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.checks import checked, uses
from datasets.contents import Entry, digest, entry_of
from datasets.dataset import Dataset, Volume
from datasets.h5_writer import GZIP, Writer, replacing, writing_h5
from datasets.likeness import Ranges, look_of, widened
from datasets.manifest import Manifest, shown_classes
from datasets.prepared import LEVELS, Prepared, unpacked
from datasets.reading import place_in


def write(dataset: Dataset, file: Path, bits: Literal[8, 16] | None, tell: Callable[[int, int], None]) -> str:
    """Check the whole dataset and write it to ``file``, which appears when it is whole; returns the hash of what is in it.

    bits: of each intensity; None loses nothing. tell: called with (cases done, in all).

    Raises:
        BadInput: a file or a value breaks a rule, or ``file`` cannot be written.
    """
    with replacing(file) as temporary, writing_h5(temporary, "w") as out:
        cases, volumes = list(uses(dataset)), list[Entry]()
        done, shown = set[str](), dict[str, tuple[int, ...]]()
        reading, seen = dataset.reading, Ranges()
        for volume, use in checked(dataset):
            volumes.append(entry_of(_write_volume(out, len(volumes), volume, bits)))
            if use in ("train", "unlabelled"):
                seen = widened(seen, look_of(volume, place_in(reading, volume.name, volume.spacing)))
            if volume.label is not None:
                shown[volume.name] = shown_classes(volume)
            if volume.case not in done:
                done.add(volume.case)
                tell(len(done), len(cases))
            del volume  # or it stays while the next is read
        manifest = Manifest(
            dataset=dataset.name,
            hash=digest(dataset, volumes),
            bits=bits,
            classes=dataset.classes,
            channels=dataset.channels,
            spacing_known=dataset.spacing_known,
            split=dataset.split,
            groups=dataset.train_groups,
            volumes=volumes,
            facts=dataset.facts,
            warnings=dataset.manifest.warnings if isinstance(dataset, Prepared) else dataset.warnings,
            shown=shown,
            licence=dataset.licence,
            test_set=dataset.has_test_set,
            reading=reading,
            seen=seen,
        )
        _write_bytes(out, "manifest", manifest.model_dump_json().encode())
    return manifest.hash


def add_registrations(file: Path, cache: Path, names: Sequence[str]) -> None:
    """Put files of the registration cache ``cache``, named relative to it, into the prepared ``file``.

    Raises:
        BadInput: ``file`` cannot be read or written.
    """
    manifest = Prepared(file).manifest.model_copy(update={"registrations": list(names)})
    with replacing(file) as temporary:
        shutil.copyfile(file, temporary)
        with writing_h5(temporary, "r+") as out:
            for number, name in enumerate(names):
                _write_bytes(out, f"registration {number}", (cache / name).read_bytes())
            del out.file["manifest"]
            _write_bytes(out, "manifest", manifest.model_dump_json().encode())


def _write_volume(out: Writer, number: int, volume: Volume, bits: Literal[8, 16] | None) -> Volume:
    """Write a volume; returns it as it will be read."""
    image = volume.image
    if bits:
        image = np.round(image * LEVELS[bits]).astype(np.uint8 if bits == 8 else np.uint16)
    out.add_slices(f"image {number}", image)
    if volume.label is not None:
        out.add_slices(f"label {number}", volume.label)
    return replace(volume, image=unpacked(image, bits))


def _write_bytes(out: Writer, name: str, content: bytes) -> None:
    out.add(name, np.frombuffer(content, np.uint8), chunks=(len(content),), fletcher32=True, **GZIP)
