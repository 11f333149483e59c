"""The laws that every dataset keeps, checked on its own files: ``python -m benchmark check --plugin my_data.py --data FOLDER``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.conformance import Result
from benchmark.conformance.laws import Violation
from datasets.checks import checked, uses
from datasets.contents import hash_of
from datasets.dataset import Dataset, Volume


@dataclass
class DataSubject:
    """The class of dataset under test, and where its files lie."""

    cls: type[Dataset]
    path: Path | None

    @cached_property
    def dataset(self) -> Dataset:
        """One instance for all laws."""
        return self.cls(self.path)


def says_what_it_is(subject: DataSubject) -> None:
    """it has two classes or more, all named, background first, at least one channel, and a docstring"""
    dataset = subject.dataset
    if not (subject.cls.__doc__ or "").strip():
        raise Violation("the class has no docstring; its first line is what `ls datasets` shows")
    names = list(dataset.classes)
    if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) and name for name in names):
        raise Violation(f"classes are {names}; expected two or more different names, background first")
    if not (isinstance(dataset.channels, int) and dataset.channels >= 1 and isinstance(dataset.spacing_known, bool)):
        raise Violation(f"channels {dataset.channels!r}, spacing_known {dataset.spacing_known!r}; expected a number and a bool")


def cases_have_one_use(subject: DataSubject) -> None:
    """cases train, and others test; none has two uses"""
    split = subject.dataset.split
    uses(subject.dataset)
    if not split.train or not split.tests or not all(split.tests.values()):
        found = (
            f"{len(split.train)} training cases and test sets { ({name: len(cases) for name, cases in split.tests.items()}) }"
        )
        raise Violation(f"{found}; expected at least one case in each")
    if strangers := sorted(subject.dataset.train_groups.keys() - set(split.train)):
        raise Violation(f"train_groups names {strangers[0]}, which does not train")


def volumes_are_in_order(subject: DataSubject) -> None:
    """volumes are (C, D, H, W) float32 in [0, 1] with a uint8 mask, spacing in mm and a name of their own; no slice is in two splits"""
    for volume, _ in checked(subject.dataset):
        if not isinstance(volume, Volume) or volume.case not in uses(subject.dataset):
            raise Violation(f"read gave {volume!r:.80}; expected a Volume of a case of the split")


def masks_are_withheld(subject: DataSubject) -> None:
    """read(case, labels=False) hands out the same images and no mask"""
    for case in subject.dataset.split.train[:2]:
        open_, closed = (subject.dataset.read(case, labels=labels) for labels in (True, False))
        for with_mask, without in zip(open_, closed, strict=True):
            if without.label is not None:
                raise Violation(f"{without.name} has a mask although labels=False")
            if with_mask.name != without.name or not np.array_equal(with_mask.image, without.image):
                raise Violation(f"{with_mask.name} and {without.name} differ with labels=True and labels=False")


def hashes_are_stable(subject: DataSubject) -> None:
    """two instances have the same split, content_hash and data_hash"""
    first, second = (subject.cls(subject.path) for _ in range(2))
    for what, values in (
        ("split", (first.split, second.split)),
        ("content_hash", (first.content_hash(), second.content_hash())),
        ("data_hash", (hash_of(first), hash_of(second))),
    ):
        if values[0] != values[1]:
            raise Violation(
                f"{what} is {values[0]} and then {values[1]}; expected the same each time: is there a draw, or a set's order?"
            )


DATA_LAWS: tuple[Callable[[DataSubject], None], ...] = (
    says_what_it_is,
    cases_have_one_use,
    volumes_are_in_order,
    masks_are_withheld,
    hashes_are_stable,
)


def try_laws(cls: type[Dataset], path: Path | None) -> Iterator[Result]:
    """Each law with its problem, None where it holds; an exception of the dataset's own is one too."""
    subject = DataSubject(cls, path)
    for law in DATA_LAWS:
        said = (law.__doc__ or law.__name__).strip()
        try:
            law(subject)
            yield Result(said, None)
        except Exception as error:  # whatever a plug-in's code raises
            yield Result(said, str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}")
