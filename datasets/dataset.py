"""What a dataset is: cases with volumes, a split, classes and hashes.

Images are (C, D, H, W) float32 and labels (D, H, W) uint8. D is the slice axis. Spacing is (z, y, x) in mm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.reading import Reading

IGNORE = 255
"""Label value of voxels that no loss and no metric may use: unlabelled, no class, or outside a registered volume's field of view."""


@dataclass(frozen=True)
class Volume:
    """One 3-D image of a case. Its arrays are read-only.

    name: unique in the dataset, e.g. ``patient099_frame01``.
    image: (C, D, H, W) float32, intensities in [0, 1].
    label: (D, H, W) uint8 class numbers, IGNORE where no class is meant; None where it is not given out (an unlabelled volume).
    spacing: (z, y, x) in mm. Where the file has none it is the layout's convention and ``spacing_known`` is False.
    """

    name: str
    case: str
    image: np.ndarray
    label: np.ndarray | None
    spacing: tuple[float, float, float]
    spacing_known: bool = True

    def __post_init__(self) -> None:
        for part in ("image", "label"):
            if (array := getattr(self, part)) is not None:
                view = array.view()
                view.flags.writeable = False
                object.__setattr__(self, part, view)

    @property
    def labelled(self) -> bool:
        """Whether it has a label."""
        return self.label is not None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        depth, height, width = self.image.shape[1:]
        return depth, height, width


@dataclass(frozen=True)
class Split:
    """Case ids by use. ``train`` is in canonical order: draw 0 labels its first cases. ``tests`` maps test sets to their cases.

    ``unlabelled`` cases train beside them and have no mask that a draw could give out.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    tests: dict[str, tuple[str, ...]]
    unlabelled: tuple[str, ...] = ()


class Dataset(ABC):
    """A dataset on disk or made on the fly. Volumes are read on demand, a case at a time.

    Subclasses set ``classes`` (class 0 is background) and ``channels``, and implement the three readers below.
    """

    package: ClassVar = "datasets"
    """Where the registry counts it."""
    name: str
    source: str = "it is not to be downloaded"
    """Where the data comes from and what --data then names, as an instruction."""
    licence: str = "not stated by its files; ask whoever gave the data out"
    """Under which the data may be used, as far as it is known."""
    classes: tuple[str, ...]
    channels: int
    spacing_known: bool
    """Whether distances are in mm; False where the layout stores no spacing."""

    contents: str | None = None
    """What ``datasets.contents.hash_of`` returns, once it is known."""

    facts: tuple[str, ...] = ()
    """Decisions that hold for the whole dataset, such as the axis of its slices, as lines that ``prepare`` shows."""
    warnings: tuple[str, ...] = ()
    """What a user should know of files that were read all the same: a sentence each."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    @classmethod
    def download(cls, path: Path) -> None:
        """Put the raw data into ``path``, where its licence lets a program do so.

        Raises:
            BadInput: it does not, with the steps for a person; or the download failed.
        """
        raise BadInput(f"--download: {cls.name} cannot be downloaded by a program; {cls.source}")

    @property
    def reading(self) -> Reading | None:
        """How files became volumes, for new scans and for masks that go back to the files' grids; None where nothing new can be read so."""
        return None

    @property
    @abstractmethod
    def split(self) -> Split:
        """The case ids of training, validation and test sets."""

    @property
    def has_test_set(self) -> bool:
        """Whether somebody chose the test cases; False where there are none, or names alone made some of the labelled cases test."""
        return any(self.split.tests.values())

    @property
    def train_groups(self) -> dict[str, str]:
        """A stratum (e.g. pathology) for each training case, over which random draws are balanced; empty where none is known."""
        return {}

    @abstractmethod
    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's volumes; with ``labels=False`` their label is None and the mask is not handed out.

        Raises:
            BadInput: a file is missing, unreadable or breaks a rule of the format.
        """

    @abstractmethod
    def content_hash(self) -> str:
        """Hash (hex) of the files, or whatever else ``read`` makes volumes of: it tells cheaply whether they were prepared before."""
