"""What a prepared file says of itself, and which classes the cases of a dataset show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from datasets.contents import Entry
from datasets.dataset import IGNORE, Split, Volume
from datasets.draws import DRAWS, labelled_cases
from datasets.likeness import Ranges
from datasets.readers import count_values
from datasets.reading import Reading

MAX_MANIFEST_BYTES = 64 * 2**20


class Manifest(BaseModel):
    """What a prepared file says of itself. hash: of its contents, which its entries lead to; format 1 has none, and a hash of raw files.

    facts, warnings: of the source; no part of the contents. shown: the classes that each labelled volume shows; None in older files.
    test_set: whether somebody chose the test cases. reading: how the source's files became volumes. seen: what training volumes look like.
    Both are for new scans; older files have none.
    """

    model_config = ConfigDict(extra="forbid")
    format: Literal[1, 2] = 2
    dataset: str
    hash: str
    bits: Literal[8, 16] | None
    classes: tuple[str, ...]
    channels: Annotated[int, Field(ge=1)]
    spacing_known: bool
    split: Split
    groups: dict[str, str]
    volumes: list[Entry]
    registrations: list[Annotated[str, Field(pattern=r"^[0-9a-f]+-(cpu|cuda)/[0-9a-f]+\.sealed$")]] = []
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shown: dict[str, tuple[int, ...]] | None = None
    licence: str = ""
    test_set: bool = True
    reading: Reading | None = None
    seen: Ranges = {}

    def shown_by(self, cases: Iterable[str]) -> frozenset[int]:
        """The classes that some labelled volume of the cases shows."""
        wanted, shown = set(cases), self.shown or {}
        return frozenset(k for entry in self.volumes if entry.case in wanted for k in shown.get(entry.name, ()))

    def unshown(self) -> tuple[str, ...]:
        """A sentence for each set of cases that lacks a class, and for draws whose first case does."""
        if self.shown is None:
            return ()
        split, told = self.split, []
        taught = self.shown_by(split.train)
        sets = {"training": split.train, "validation": split.val, **split.tests}
        for name, cases in sets.items():
            lacking = [self.classes[k] for k in range(1, len(self.classes)) if cases and k not in self.shown_by(cases)]
            if lacking:
                where = "" if name == "training" else f" on the {name} cases"
                told.append(f"no {name} case shows {', '.join(lacking)}: left out of every score{where}")
        found: dict[tuple[str, ...], list[int]] = {}
        for draw in DRAWS:
            (first,) = labelled_cases(self.dataset, split.train, 1, draw, self.groups)
            lacking = [self.classes[k] for k in sorted(taught - self.shown_by([first]) - {0})]
            if lacking:
                found.setdefault((first, *lacking), []).append(draw)
        for (case, *lacking), draws in found.items():
            told.append(
                f"with 1 labelled case, draw {', '.join(map(str, draws))} ({case}) shows no {' and no '.join(lacking)}: such runs cannot"
                " learn it; label more cases, or take another draw"
            )
        return tuple(told)


def shown_classes(volume: Volume) -> tuple[int, ...]:
    """The classes that a labelled volume shows, background included; none of an unlabelled one."""
    if volume.label is None:
        return ()
    return tuple(int(k) for k in np.flatnonzero(count_values(volume.label)[:IGNORE]))


def scored_classes(manifest: Manifest, cases: Sequence[str]) -> tuple[int, ...]:
    """The foreground classes that enter the scores of these cases: shown by one of them and by a training case; all where none is."""
    both = manifest.shown_by(cases) & manifest.shown_by(manifest.split.train) - {0}
    return tuple(sorted(both)) or tuple(range(1, len(manifest.classes)))
