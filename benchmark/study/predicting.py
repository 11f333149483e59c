"""Segmenting scans: which, one by one, what is refused, and what is written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.cell.prediction import Knowledge, Predictor, Segmentation, largest_component
from benchmark.ground.errors import BadInput
from benchmark.ground.files import read_plain, write_atomically, write_text
from datasets.dataset import Volume
from datasets.formats import values_of
from datasets.likeness import look_of, unlike
from datasets.prepared import Prepared
from datasets.reading import Place, axes_of, class_values, place_in, write_nifti
from datasets.scans import find_scans, read_scan

TABLE, ABOUT, SHEET = "predictions.csv", "predictions.json", "contact_sheet.png"
COLUMNS = ("scan", "class", "value", "voxels", "ml")
PICTURED = 24


@dataclass(frozen=True)
class Wanted:
    """How to predict, and what to write beside the masks. force: scans that are unlike those of training are segmented, too."""

    flips: bool = False
    largest: bool = False
    probabilities: bool = False
    uncertainty: bool = False
    force: bool = False


@dataclass(frozen=True)
class Scan:
    """A scan to segment: its name, the files that it lies in, whether it may be unlike those of training, and how it is read."""

    name: str
    files: tuple[Path, ...]
    stranger: bool
    read: Callable[[], tuple[Volume, Place]]


@dataclass
class Outcome:
    """rows: of COLUMNS. refused: a sentence on each scan that was not segmented. done: how many were, now or before."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    done: int = 0


def new_scans(paths: Sequence[Path], knowledge: Knowledge) -> list[Scan]:
    """The scans in files and folders; raises as ``find_scans``."""
    reading, spacing = knowledge.reading, knowledge.spacing
    return [
        Scan(name, source.images, True, lambda n=name, s=source: read_scan(n, s, reading, spacing))  # type: ignore[misc]
        for name, source in find_scans(paths, reading).items()
    ]


def own_scans(dataset: Prepared, labelled: set[str]) -> list[Scan]:
    """The dataset's training volumes whose labels none of the cells had.

    Raises:
        BadInput: there are none.
    """
    split = dataset.split
    cases = {*split.train, *split.unlabelled} - labelled
    entries = [entry for entry in dataset.manifest.volumes if entry.case in cases]
    if not entries:
        raise BadInput(
            f"{dataset.name} has no case that trained unlabelled; expected scans to segment; name them with --images"
        )

    def read(case: str, name: str) -> tuple[Volume, Place]:
        (volume,) = (one for one in dataset.read(case, labels=False) if one.name == name)
        return volume, place_in(dataset.reading, name, volume.spacing)

    return [
        Scan(entry.name, (), False, lambda case=entry.case, name=entry.name: read(case, name))  # type: ignore[misc]
        for entry in entries
    ]


def segment_all(
    predictor: Predictor, scans: Sequence[Scan], wanted: Wanted, out: Path, tell: Callable[[int, int], None]
) -> Outcome:
    """Segment scans into ``out``, one at a time; one that lies there already, newer than its files, is not segmented again.

    tell: called with (done, in all).

    Raises:
        BadInput: what is wanted cannot be had of this predictor, or the folder holds what another one, or other options, predicted.
    """
    if predictor.propagates and (wanted.probabilities or wanted.uncertainty or wanted.flips):
        raise BadInput(
            f"{predictor.cells[0].method} has no network: expected it without --probabilities, --uncertainty and --flips; leave them out"
        )
    if wanted.largest and predictor.knowledge.largest is None:
        raise BadInput("--largest-component is chosen on validation cases, and the dataset has none; leave it out")
    known = _begin(predictor, wanted, out)
    outcome = Outcome()
    for number, scan in enumerate(scans, 1):
        rows = known.get(scan.name, [])
        if not (rows and _is_newer(scan, wanted, out)):
            try:
                rows = _segment(predictor, scan, wanted, out)
            except BadInput as problem:
                outcome.refused.append(f"{scan.name}: {problem}")
                rows = []
        outcome.rows += rows
        outcome.done += bool(rows)
        if rows and known.get(scan.name) != rows:
            known[scan.name] = rows
            write_text(out / TABLE, _csv([row for each in known.values() for row in each]))
        tell(number, len(scans))
    return outcome


def _begin(predictor: Predictor, wanted: Wanted, out: Path) -> dict[str, list[dict[str, Any]]]:
    """Make the folder, or find it with what the same words led to before: the rows of its table, by scan."""
    about = {
        "cells": [cell.id for cell in predictor.cells],
        "flips": wanted.flips,
        "largest_component": list(predictor.knowledge.largest or ()) if wanted.largest else None,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / ABOUT).exists():
            before = json.loads(read_plain(out / ABOUT))
            if before != about:
                raise BadInput(f"--out: {out} holds predictions of {before}; expected those of {about}; name another folder")
            found: dict[str, list[dict[str, Any]]] = {}
            rows = csv.DictReader(read_plain(out / TABLE).decode().splitlines()) if (out / TABLE).exists() else ()
            for row in rows:
                found.setdefault(row["scan"], []).append(row)
            return found
        write_atomically(out / ABOUT, json.dumps(about, indent=1).encode())
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"--out: {out} cannot be used ({error}); expected a folder to write to, or an earlier one whole"
        ) from None
    return {}


def _files(scan: Scan, wanted: Wanted, out: Path, apart: bool) -> dict[str, Path]:
    """What is written of a scan, by part."""
    names = {"mask": ""}
    names |= {"probabilities": "_probabilities"} if wanted.probabilities else {}
    names |= {"entropy": "_entropy"} | ({"disagreement": "_disagreement"} if apart else {}) if wanted.uncertainty else {}
    return {part: out / f"{scan.name}{end}.nii.gz" for part, end in names.items()}


def _is_newer(scan: Scan, wanted: Wanted, out: Path) -> bool:
    files = _files(scan, wanted, out, apart=False).values()
    if not all(file.is_file() for file in files):
        return False
    oldest = min(file.stat().st_mtime_ns for file in files)
    return all(file.stat().st_mtime_ns <= oldest for file in scan.files)


def _segment(predictor: Predictor, scan: Scan, wanted: Wanted, out: Path) -> list[dict[str, Any]]:
    """Segment one scan and write what is wanted; returns its rows.

    Raises:
        BadInput: it cannot be read, or is unlike those of training.
    """
    knowledge = predictor.knowledge
    volume, place = scan.read()
    if scan.stranger and not wanted.force and (told := unlike(look_of(volume, place), knowledge.seen)):
        raise BadInput(f"{'; '.join(told)}; expected a scan like those of training; correct its header, or --force")
    found = predictor.segment(volume, wanted.flips, wanted.probabilities or wanted.uncertainty)
    label = largest_component(found.label, knowledge.largest or ()) if wanted.largest else found.label
    reading = knowledge.reading
    parts = _parts(label, found, reading.values)
    for part, file in reversed(_files(scan, wanted, out, found.disagreement is not None).items()):  # the mask is written last
        write_nifti(file, parts[part], reading.axis, place)
    voxel = place.voxel_ml(volume.spacing) if volume.spacing_known else np.nan
    counts = np.bincount(label.ravel(), minlength=len(knowledge.classes))
    return [
        dict(
            zip(
                COLUMNS,
                (scan.name, name, str(value), str(count), "" if np.isnan(voxel) else f"{count * voxel:.4f}"),
                strict=True,
            )
        )
        for name, value, count in zip(knowledge.classes[1:], reading.values[1:], counts[1:], strict=True)
    ]


def _parts(label: np.ndarray, found: Segmentation, values: tuple[int, ...]) -> dict[str, Any]:
    maps = {"probabilities": found.probabilities, "entropy": found.entropy, "disagreement": found.disagreement}
    return {"mask": class_values(label, values)} | maps


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def pictures(scans: Sequence[Scan], knowledge: Knowledge, out: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of up to PICTURED segmented scans, evenly chosen: name, and the slice (H, W) with most foreground of image and classes.

    Masks are read back from their files: what is seen is what was written.
    """
    there = [scan for scan in scans if (out / f"{scan.name}.nii.gz").is_file()]
    chosen = np.unique(np.linspace(0, len(there) - 1, min(PICTURED, len(there))).round().astype(int))
    axes, values = axes_of(knowledge.reading.axis), np.asarray(knowledge.reading.values)
    order = np.argsort(values)
    for scan in (there[i] for i in chosen):
        volume, _ = scan.read()
        stored, _ = values_of(out / f"{scan.name}.nii.gz", mask=True)
        label = order[np.searchsorted(values[order], stored[0].transpose(axes))]
        plane = int(np.count_nonzero(label, axis=(1, 2)).argmax())
        yield scan.name, volume.image[0, plane], label[plane]
