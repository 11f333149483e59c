"""ACDC in the h5 layout of SSL4MIS (github.com/HiLab-git/SSL4MIS).

``train_slices.list``, ``val.list`` and ``test.list`` hold a name per line; training slices lie in ``data/slices``, validation and test
volumes in ``data``.
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.acdc.layout import GROUPS, Layout
from datasets.dataset import Split, Volume
from datasets.readers import check_file, hash_files, read_h5, read_names
from datasets.reading import Reading

LISTS = {"train": "train_slices.list", "val": "val.list", "test": "test.list"}
SLICE_NAME = re.compile(r"(?P<volume>(?P<case>patient[0-9]{3})_frame[0-9]{2})_slice_(?P<number>0|[1-9][0-9]{0,2})")
VOLUME_NAME = re.compile(r"(?P<volume>(?P<case>patient[0-9]{3})_frame[0-9]{2})")
OTHER_FOLDERS = {"data/slices": "ACDC_training_slices", "data": "ACDC_training_volumes"}
"""What the script of SSL4MIS that makes the files calls their folders."""

SPACING = (10.0, 1.0, 1.0)


class SlicesACDC(Layout):
    """ACDC in the SSL4MIS layout. Canonical order: the patients of ``train_slices.list`` as they come.

    The layout stores no spacing: volumes carry the convention (10, 1, 1) mm, which tells a registration the thick axis from the
    thin ones, and ``spacing_known`` is False, so that distances are reported in voxels.

    path: the folder of the lists.

    Raises:
        BadInput: no folder or no such layout; later, a list or a file breaks a rule of the layout.
    """

    spacing_known = False
    facts = ("slices as the files hold them, spacing not stored",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.folder = path
        other = os.path.exists(path / OTHER_FOLDERS["data/slices"])
        if missing := [
            name
            for name in (*LISTS.values(), "data/slices")
            if not (os.path.exists(path / name) or os.path.exists((path / name).with_suffix(".txt")) or ("/" in name and other))
        ]:
            found = f"has no {', '.join(missing)}" if os.path.isdir(path) else "is not a folder"
            raise BadInput(
                f"{path} {found}; expected ACDC in the SSL4MIS layout ({', '.join(LISTS.values())}, data/slices) or the "
                "official download (training/patientNNN); point --data to that folder"
            )

    @cached_property
    def split(self) -> Split:
        """Training, validation and test patients; the one test set is called ``test``."""
        cases = {use: tuple(files) for use, files in self._files.items()}
        return Split(cases["train"], cases["val"], {"test": cases["test"]})

    @cached_property
    def train_groups(self) -> dict[str, str]:
        """The pathology of each training patient; patients after 100 are in no group."""
        return {case: GROUPS[(number - 1) // 20] for case in self.split.train if 1 <= (number := int(case[-3:])) <= 100}

    @property
    def reading(self) -> Reading:
        """New scans in h5 files like those of test volumes."""
        return Reading(windows=((0.0, 1.0),), values=tuple(range(len(self.classes))), arrays="zyx")

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The patient's frames in order of their number: images (1, D, H, W), labels (D, H, W); see ``Dataset.read``."""
        files = ChainMap(*self._files.values())[case]
        return tuple(self._volume(case, name, paths, labels) for name, paths in sorted(files.items()))

    def content_hash(self) -> str:
        """Hash of the lists and of every file that they name; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        lists = [self._list(use) for use in LISTS]
        files = [path for use in self._files.values() for case in use.values() for paths in case.values() for path in paths]
        return hash_files(self.folder, lists + files)

    @cached_property
    def _files(self) -> dict[str, dict[str, dict[str, list[Path]]]]:
        """use -> case -> volume -> its files: the slices from the first to the last, or the one file of the volume."""
        files = {"train": self._slices(), "val": self._volumes("val"), "test": self._volumes("test")}
        owner: dict[str, str] = {}
        for use, cases in files.items():
            for case in cases:
                if case in owner:
                    raise BadInput(
                        f"{self.folder}: {case} is in {self._list(owner[case]).name} and in {self._list(use).name}; "
                        "expected each patient in one list; remove it from one"
                    )
                owner[case] = use
        return files

    def _slices(self) -> dict[str, dict[str, list[Path]]]:
        numbers: dict[str, dict[str, list[int]]] = {}
        for match in self._names("train", SLICE_NAME, "patientNNN_frameMM_slice_K with K from 1 or 0"):
            numbers.setdefault(match["case"], {}).setdefault(match["volume"], []).append(int(match["number"]))
        first = min(number for volumes in numbers.values() for found in volumes.values() for number in found)
        first = min(first, 1)
        return {
            case: {volume: self._stack(volume, found, first) for volume, found in volumes.items()}
            for case, volumes in numbers.items()
        }

    def _stack(self, volume: str, numbers: list[int], first: int) -> list[Path]:
        """The files of a volume's slices by number, not by name: slice 2 comes before slice 10. All count from ``first``."""
        expected = range(first, max(numbers) + 1)
        if missing := sorted(set(expected) - set(numbers)):
            raise BadInput(
                f"{self._list('train')}: {volume} has slices up to {max(numbers)} but no slice {missing[0]}; "
                f"expected all from {first}; add the line {volume}_slice_{missing[0]} and its file"
            )
        return [self._file(f"data/slices/{volume}_slice_{number}.h5") for number in expected]

    def _volumes(self, use: str) -> dict[str, dict[str, list[Path]]]:
        files: dict[str, dict[str, list[Path]]] = {}
        for match in self._names(use, VOLUME_NAME, "patientNNN_frameMM"):
            files.setdefault(match["case"], {})[match["volume"]] = [self._file(f"data/{match['volume']}.h5")]
        return files

    def _list(self, use: str) -> Path:
        """The list of a use; UniMatch's ends with .txt, and its lines with .h5."""
        path = self.folder / LISTS[use]
        return path if path.exists() else path.with_suffix(".txt")

    def _names(self, use: str, pattern: re.Pattern[str], shape: str) -> list[re.Match[str]]:
        path = self._list(use)
        matches = []
        for name in read_names(path):
            if (match := pattern.fullmatch(name.removesuffix(".h5"))) is None:
                raise BadInput(f"{path}: found {name!r}; expected names like {shape}; correct the line")
            matches.append(match)
        return matches

    def _file(self, name: str) -> Path:
        path = self.folder / name
        for home, other in OTHER_FOLDERS.items():
            if not path.exists() and (self.folder / other).is_dir() and name.startswith(home):
                path = self.folder / other / path.name
        check_file(path)
        return path

    def _volume(self, case: str, name: str, paths: list[Path], labels: bool) -> Volume:
        images, masks = zip(*(self._read(path, labels) for path in paths), strict=True)
        if len({image.shape[1:] for image in images}) > 1:
            raise BadInput(f"{paths[0].parent}: slices of {name} differ in height or width; expected one size; replace them")
        label = np.concatenate(masks) if labels else None
        return Volume(name, case, np.concatenate(images)[None], label, SPACING, spacing_known=False)

    def _read(self, path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Image and label of one file as (D, H, W); D is 1 for a slice."""
        image, label = read_h5(path, len(self.classes), labels)
        axes = 2 if "_slice_" in path.name else 3
        if axes == 2 and image.ndim == 3 and len(image) == 1:
            image, label = image[0], None if label is None else label[0]
        if image.ndim != axes:
            raise BadInput(f"{path}: the image has shape {image.shape}; expected {axes} axes; replace the file")
        if image.min() < 0 or image.max() > 1:
            raise BadInput(
                f"{path}: intensities run from {image.min():g} to {image.max():g}; expected [0, 1]; "
                "scale each volume by its minimum and maximum"
            )
        shape = (-1, *image.shape[-2:])
        return image.reshape(shape), None if label is None else label.reshape(shape)
