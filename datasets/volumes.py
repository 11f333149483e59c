"""Datasets whose cases are files of images: one class for all such layouts, and how a volume is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.classes import LabelMap, found_map
from datasets.dataset import Dataset, Split, Volume
from datasets.formats import header_of, parts_of, values_of
from datasets.formats.grid import Grid, difference, turned_values
from datasets.readers import ROUNDING, check_image, hash_files, slabs
from datasets.reading import Place, Reading, Window, axes_of
from datasets.survey import UNTURNED, Survey, survey

PERCENTILES = (0.5, 99.5)
SOFT_TISSUE, LUNG = (-175.0, 275.0), (-1000.0, 400.0)
"""Windows of CT, Hounsfield units."""

READING = "5"
"""Of how files become volumes, and what is kept of them: what an earlier one prepared is prepared again."""


@dataclass(frozen=True)
class Source:
    """Where a volume lies: a file with all channels or a file for each, its mask, and the frame of a series, from 0."""

    images: tuple[Path, ...]
    label: Path | None = None
    frame: int | None = None

    @property
    def paths(self) -> list[Path]:
        """All its files."""
        return [*self.images, *([self.label] if self.label else [])]


Files = dict[str, dict[str, Source]]
"""case -> volume -> where it lies."""


class FileDataset(Dataset):
    """Cases that are files of images.

    Subclasses set ``folder``, ``files``, ``windows`` and ``labels``, implement ``split``, and append to ``told``.
    """

    folder: Path
    files: Files
    about: tuple[Path, ...] = ()
    """Files beside the images that say what they are."""
    windows: tuple[Window, ...] | None = None
    """Of each channel; None: percentiles for all."""
    percentiles: tuple[float, float] = PERCENTILES
    layout: tuple[str, ...] = ()
    """What was decided on which file is what, to be shown."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        self.told: list[str] = []

    @cached_property
    def labels(self) -> LabelMap:
        """Which value of a mask is which class; from all masks where no file says so."""
        found, told = found_map(self._values_in_masks(), str(self.folder))
        self.told += [told] if told else []
        return found

    def _values_in_masks(self) -> set[int]:
        values: set[int] = set()
        for volumes in self.files.values():
            for source in volumes.values():
                if source.label is not None:
                    mask, _ = values_of(source.label, mask=True, frame=source.frame)
                    held = np.unique(mask)
                    if not (np.isfinite(held).all() and (np.abs(held - np.rint(held)) <= ROUNDING).all()):
                        odd = held[~(np.abs(held - np.rint(held)) <= ROUNDING)][0]
                        raise BadInput(
                            f"{source.label}: the label holds {odd:g}; expected integers; check that it is a mask, resampled without"
                            " interpolation"
                        )
                    values |= set(np.rint(held).astype(int).tolist())
        return values

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes, background first."""
        return self.labels.names

    @cached_property
    def channels(self) -> int:  # type: ignore[override]
        """Of the first training volume; every other one has as many."""
        first = next(iter(self.files[(self.split.train or self.split.unlabelled)[0]].values()))
        found = 1 if first.frame is not None else self._grid(first).channels
        return found if len(first.images) == 1 else len(first.images)

    @cached_property
    def spacing_known(self) -> bool:  # type: ignore[override]
        """Whether the files store a spacing."""
        return all(grid.known for grid in self.grids.values())

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """The header of each volume's first image."""
        return {name: self._grid(source) for volumes in self.files.values() for name, source in volumes.items()}

    @staticmethod
    def _grid(source: Source) -> Grid:
        return header_of(source.images[0])

    @cached_property
    def survey(self) -> Survey:
        """What the headers lead to."""
        split = self.split
        training = [name for case in (*split.train, *split.unlabelled) for name in self.files[case]]
        return survey(self.grids, training)

    @property
    def facts(self) -> tuple[str, ...]:  # type: ignore[override]
        """The decisions that hold for all volumes."""
        return (*self.survey.facts, *self.layout, f"classes by value: {self.labels.shown()}")

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        """What was found that a user should know."""
        return tuple(dict.fromkeys((*self.told, *self.survey.warnings)))

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's volumes; see ``Dataset.read``."""
        windows = self.windows or (None,) * self.channels
        return tuple(
            read_volume(
                *(name, case, source, self.labels if labels else None, windows, self.survey.axis, self.percentiles),
                self.survey.turns.get(name),
            )
            for name, source in self.files[case].items()
        )

    @property
    def reading(self) -> Reading:
        """As training volumes are read; see ``Dataset.reading``."""
        return Reading(
            axis=self.survey.axis,  # type: ignore[arg-type]
            windows=self.windows or (None,) * self.channels,
            percentiles=self.percentiles,
            values=self.labels.of_classes(),
            places={name: place_of(grid, self.survey.turns.get(name)) for name, grid in self.grids.items()},
        )

    def content_hash(self) -> str:
        """Hash of every file that is read; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        paths = [
            part
            for volumes in self.files.values()
            for source in volumes.values()
            for path in source.paths
            for part in parts_of(path)
        ]
        return hash_files(self.folder, {*self.about, *paths}, READING)


def read_volume(
    name: str,
    case: str,
    source: Source,
    labels: LabelMap | None,
    windows: Sequence[Window],
    axis: int,
    percentiles: tuple[float, float] = PERCENTILES,
    turn: np.ndarray | None = None,
) -> Volume:
    """A case's volume: (C, D, H, W) with D along ``axis`` (0 to 2 for x, y, z) and the other two axes as H and W.

    labels: None where the mask is not to be handed out. windows: for each channel its range of intensities that becomes [0, 1]; None:
    between ``percentiles`` of the channel. turn: nibabel's (3, 2), of x, y, z to the axes of the dataset, where its stacks are oblique.

    Raises:
        BadInput: a file is missing or damaged, has other channels, or another grid than the first; a value is NaN or infinite, or no class.
    """
    axes = axes_of(axis)
    turn = UNTURNED if turn is None else turn
    parts: list[np.ndarray] = []
    first: Grid | None = None
    found = 0
    for path in source.images:
        grid = header_of(path)
        first = first or grid
        _check_grid(path, grid, source.images[0], first)
        found += 1 if source.frame is not None else grid.channels
        parts += _scaled_channels(path, source.frame, windows[len(parts) :], percentiles)
    if found != len(windows) or first is None:
        held = f"{found} channels" + (f" in {len(source.images)} files" if len(source.images) > 1 else "")
        raise BadInput(
            f"{source.images[0]} has {held}; expected {len(windows)} as in the other cases; replace it, or take the case out"
        )
    parts = [turned_values(part, turn).transpose(axes) for part in parts]
    image = np.ascontiguousarray(parts[0])[None] if len(parts) == 1 else np.stack(parts)
    del parts  # not held beside the mask
    mask = None
    if labels is not None and source.label is not None:
        values, grid = values_of(source.label, mask=True, frame=source.frame)
        _check_grid(source.label, grid, source.images[0], first)
        mask = np.ascontiguousarray(turned_values(labels.apply(source.label, values[0]), turn).transpose(axes))
    z, y, x = (first.spacing[int(np.flatnonzero(turn[:, 0] == i)[0])] for i in axes)
    return Volume(name, case, image, mask, (z, y, x), first.known)


def _scaled_channels(
    path: Path, frame: int | None, windows: Sequence[Window], percentiles: tuple[float, float]
) -> list[np.ndarray]:
    """A file's channels (X, Y, Z) in [0, 1]; nothing else of it is kept."""
    values, _ = values_of(path, frame=frame)
    channels = zip(check_image(path, values), windows, strict=False)
    return [scaled(channel.T, window, percentiles).T for channel, window in channels]


def place_of(grid: Grid, turn: np.ndarray | None = None) -> Place:
    """Where the voxels of a file lie, as masks need it. turn: as in ``read_volume``; codes are of the axes of the dataset then."""
    codes = grid.codes
    if turn is not None:
        from nibabel import orientations

        stored = orientations.axcodes2ornt(codes)
        axes, flips = turn[stored[:, 0].astype(int)].T
        codes = "".join(orientations.ornt2axcodes(np.stack([axes, flips * stored[:, 1]], 1)))
    return Place(affine=grid.stored.tolist(), codes=codes, unit=grid.unit, tilt=grid.tilt)


def _check_grid(path: Path, grid: Grid, image: Path, like: Grid) -> None:
    if grid is not like and (apart := difference(grid, like)):
        remedy = (
            "resample one to the other's grid"
            if grid.shape != like.shape
            else "if their voxels belong together copy the image's header to the other file, else resample it to the image's grid"
        )
        raise BadInput(f"{path} and {image} differ: {apart}; expected one grid; {remedy}")


def scaled(channel: np.ndarray, window: Window, percentiles: tuple[float, float] = PERCENTILES) -> np.ndarray:
    """A channel's intensities in [0, 1], float32: the window's, or those between percentiles of the channel."""
    low, high = np.percentile(channel, percentiles) if window is None else window
    found = np.empty(channel.shape, np.float32)
    for part in slabs(channel.shape):
        found[part] = ((channel[part] - low) / max(float(high - low), 1e-6)).clip(0, 1)
    return found


def too_few(path: Path, split: Split, told: Sequence[str]) -> BadInput:
    """That there is nothing to train on, with what was found on the way."""
    found = f"{len(split.train)} labelled training and {len(split.tests['test'])} test cases"
    why = f" ({'; '.join(told)})" if told else ""
    return BadInput(f"{path} has {found}{why}; expected at least one to train on; complete the table or the folders")
