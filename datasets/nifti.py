"""Shim until ACDC's files call the new reader."""

from __future__ import annotations

from pathlib import Path

from datasets.classes import LabelMap
from datasets.formats import header_of
from datasets.survey import slice_axis
from datasets.volumes import Source
from datasets.volumes import read_volume as read


def read_volume(name, case, image: Path, label, classes: int, windows, percentiles):  # type: ignore[no-untyped-def]
    axis = slice_axis(header_of(image).spacing)
    return read(name, case, Source((image,), label), LabelMap(("x",) * classes), windows, axis, percentiles)
