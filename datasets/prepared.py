"""Prepared datasets: all that a dataset hands out, checked once, in one HDF5 file that cells read instead of the raw files.

A lossless one lies in a store's cache under the hash of its contents (``datasets.preparing``). A packed one, its intensities in 8 or 16
bits, travels to machines without the raw data and is what ``--data`` names there; it may bring registrations along. Neither is believed:
what a file holds follows from the hashes of its volumes, each volume is compared with its hash when it is read, and a file that a user
names is read through and held to the rules that raw data keeps.

    manifest          JSON text: dataset, hash, classes, channels, split, groups, volumes
    image N           (C, D, H, W) float32, or uint8 or uint16 where packed; N counts the manifest's volumes
    label N           (D, H, W) uint8; absent in unlabelled volumes
    registration N    bytes of a file of the registration cache
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from pydantic import ValidationError

from benchmark.ground.errors import BadInput, NotAsClaimed
from benchmark.ground.files import write_atomically
from datasets.checks import uses
from datasets.contents import Entry, array_hash, digest, hash_of
from datasets.dataset import Dataset, Split, Volume
from datasets.manifest import MAX_MANIFEST_BYTES, Manifest, scored_classes, shown_classes
from datasets.readers import check_file, check_image, check_label, h5_array, reading_h5
from datasets.reading import Reading

LEVELS = {8: 255, 16: 65535}
"""The highest number that an intensity is stored as, by bits."""


class Prepared(Dataset):
    """A dataset as it was prepared: the same split, draws and volumes as its source, read a volume at a time.

    Raises:
        BadInput: the file is missing, damaged, no prepared dataset, or made by a version with another format.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = path
        check_file(path)
        with reading_h5(path), h5py.File(path, "r") as file:
            text = h5_array(path, file, "manifest", "u")
            if text.size > MAX_MANIFEST_BYTES:
                raise BadInput(
                    f"{path} has a manifest of {text.size} bytes; expected at most {MAX_MANIFEST_BYTES}; prepare it again"
                )
            found = text[()].tobytes()
        try:
            self.manifest = Manifest.model_validate_json(found)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise BadInput(f"{path} is no prepared dataset of this version ({reason}); prepare it again") from None
        self.name = self.manifest.dataset
        self.classes, self.channels = self.manifest.classes, self.manifest.channels
        self.spacing_known, self.facts = self.manifest.spacing_known, self.manifest.facts
        self.licence = self.manifest.licence or self.licence
        known = uses(self)
        if stray := [entry.name for entry in self.manifest.volumes if entry.case not in known]:
            raise BadInput(f"{path}: {stray[0]} belongs to no case of the split; expected each volume in one; prepare it again")
        if self.hashed:
            self.contents = digest(self, self.manifest.volumes)
            if self.contents != self.manifest.hash:
                raise NotAsClaimed(
                    f"{path} is not what it says it is: its contents hash to {self.contents}, it claims {self.manifest.hash}; "
                    "it was edited after packing; pack the data again"
                )

    @property
    def hashed(self) -> bool:
        """Whether it lists the hashes of its volumes; files of earlier versions do not, and are read through for their hash."""
        return self.manifest.format > 1

    @property
    def split(self) -> Split:
        """The split of the source."""
        return self.manifest.split

    @property
    def has_test_set(self) -> bool:
        """That of the source."""
        return self.manifest.test_set

    @property
    def reading(self) -> Reading | None:
        """That of the source."""
        return self.manifest.reading

    @property
    def train_groups(self) -> dict[str, str]:
        """The strata of the source."""
        return self.manifest.groups

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the source, and what the labels do not show."""
        return (*self.manifest.warnings, *self.manifest.unshown())

    def scored(self, cases: Sequence[str]) -> tuple[int, ...]:
        """The foreground classes that enter the scores of these cases; see ``scored_classes``."""
        return scored_classes(self._with_classes, cases)

    @cached_property
    def _with_classes(self) -> Manifest:
        """The manifest with the classes that volumes show; a file of an earlier version is read through for them."""
        if self.manifest.shown is not None:
            return self.manifest
        volumes = (volume for case in uses(self) for volume in self.read(case, labels=True))
        return self.manifest.model_copy(update={"shown": {volume.name: shown_classes(volume) for volume in volumes}})

    def content_hash(self) -> str:
        """The hash of the contents: the source's where nothing is lost, another where intensities were packed."""
        return hash_of(self)

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's volumes; see ``Dataset.read``."""
        found = []
        with reading_h5(self.file), h5py.File(self.file, "r") as file:
            for number, entry in enumerate(self.manifest.volumes):
                if entry.case == case:
                    image = self._image(file, number)
                    label = self._label(file, number) if self._given(entry, labels) else None
                    found.append(Volume(entry.name, entry.case, image, label, entry.spacing, entry.spacing_known))
        return tuple(found)

    def on_demand(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """As ``read``, but arrays are read each time they are asked for: of a training set no more is in memory than is looked at."""
        with reading_h5(self.file), h5py.File(self.file, "r") as file:
            return tuple(
                OnDemand(self, number, self._stored(file, number).shape[1:], self._given(entry, labels))
                for number, entry in enumerate(self.manifest.volumes)
                if entry.case == case
            )

    def part(self, number: int, name: Literal["image", "label"]) -> np.ndarray:
        """The image or the label of the manifest's volume ``number``, read-only."""
        with reading_h5(self.file), h5py.File(self.file, "r") as file:
            array = self._image(file, number) if name == "image" else self._label(file, number)
        array.flags.writeable = False
        return array

    def _given(self, entry: Entry, labels: bool) -> bool:
        return labels and entry.case not in self.split.unlabelled

    def _stored(self, file: h5py.File, number: int) -> h5py.Dataset:
        return h5_array(self.file, file, f"image {number}", "u" if self.manifest.bits else "f")

    def _image(self, file: h5py.File, number: int) -> np.ndarray:
        image = check_image(self.file, unpacked(self._stored(file, number)[()], self.manifest.bits))
        self._compare(self.manifest.volumes[number], "image", image)
        return image

    def _label(self, file: h5py.File, number: int) -> np.ndarray:
        label = check_label(self.file, h5_array(self.file, file, f"label {number}", "u")[()], len(self.classes), True)
        self._compare(self.manifest.volumes[number], "label", label)
        return label

    def _compare(self, entry: Entry, part: Literal["image", "label"], array: np.ndarray) -> None:
        if self.hashed and array_hash(array) != getattr(entry, part):
            raise NotAsClaimed(
                f"{self.file} is not what it says it is: the {part} of {entry.name} hashes to {array_hash(array)}, "
                f"it claims {getattr(entry, part)}; it was edited after packing; pack the data again"
            )

    def unpack_registrations(self, folder: Path) -> None:
        """Put the registrations that came along into the cache ``folder``, beside those that are there."""
        for number, name in enumerate(self.manifest.registrations):
            if not (folder / name).exists():
                with reading_h5(self.file), h5py.File(self.file, "r") as file:
                    content = h5_array(self.file, file, f"registration {number}", "u")[()].tobytes()
                write_atomically(folder / name, content)


class OnDemand(Volume):
    """A volume of a prepared dataset whose arrays are read, and compared with their hashes, each time they are asked for."""

    def __init__(self, dataset: Prepared, number: int, shape: tuple[int, int, int], labelled: bool) -> None:
        entry = dataset.manifest.volumes[number]
        about = {name: getattr(entry, name) for name in ("name", "case", "spacing", "spacing_known")}
        self.__dict__.update(about, _shape=shape, _labelled=labelled, _part=partial(dataset.part, number))

    @property
    def image(self) -> np.ndarray:
        """See ``Volume``; in memory of its own."""
        return self._part("image")  # type: ignore[attr-defined]

    @property
    def label(self) -> np.ndarray | None:
        """See ``Volume``; in memory of its own."""
        return self._part("label") if self.labelled else None  # type: ignore[attr-defined]

    @property
    def labelled(self) -> bool:
        """Whether it has a label; nothing is read."""
        return self._labelled  # type: ignore[attr-defined]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W); nothing is read."""
        return self._shape  # type: ignore[attr-defined]


def unpacked(stored: np.ndarray, bits: Literal[8, 16] | None) -> np.ndarray:
    """Intensities as they are stored, in [0, 1]; bits: None where nothing was packed."""
    return stored / np.float32(LEVELS[bits]) if bits else stored
