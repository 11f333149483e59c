"""Ablations that a store remembers: which variants of a method stand for which levels of which factors, and where they ran."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, RootModel, model_validator

from benchmark.ground.files import safe_name, write_atomically
from benchmark.ground.grammar import KEY
from benchmark.records.identity import digest
from benchmark.records.schema import BadRecord, Line, Name, parse
from benchmark.records.store import Store

FOLDER = "ablations"
"""Of a store, where ``ablate`` puts down its designs."""


Factor = Annotated[str, Field(pattern=f"^{KEY}$", max_length=100)]


@dataclass(frozen=True)
class Design:
    """A full factorial. factors: name to its levels as text, baseline first. variants: a variant's level of each factor, in order."""

    method: Line
    factors: Annotated[dict[Factor, tuple[Line, ...]], Field(min_length=1, max_length=10)]
    variants: Annotated[dict[Line, tuple[Line, ...]], Field(max_length=1000)]

    @property
    def name(self) -> str:
        """Method and factors, for files."""
        return "-".join([self.method, *self.factors])


@dataclass(frozen=True)
class Ablation:
    """A design and where it was run: what a store remembers of ``ablate``, so that every later report shows its effects."""

    dataset: Name
    protocol: Line
    design: Design

    @property
    def folder(self) -> Path:
        """Where its effects are written, below a report's folder ``ablation``."""
        return Path(self.dataset, safe_name(self.protocol), safe_name(self.design.name))


def remember(ablation: Ablation, store: Store) -> None:
    """Put the ablation down in the store."""
    name = safe_name("-".join([ablation.dataset, ablation.protocol, ablation.design.name]))
    write_atomically(
        store.root / FOLDER / f"{name}-{digest(asdict(ablation))}.json", json.dumps(asdict(ablation), indent=1).encode()
    )


def remembered(*stores: Store, tell: Callable[[str], None]) -> list[Ablation]:
    """Every ablation that the stores remember, each once. tell: called with a sentence on each file that is none, and is left out."""
    found = {}
    for store in stores:
        for path, content in store.texts(FOLDER):
            try:
                found[path.name] = _parse(path, content)
            except BadRecord as error:
                tell(f"left out: {error}")
    return list(found.values())


def _parse(path: Path, content: bytes | OSError) -> Ablation:
    """What a file of FOLDER holds.

    Raises:
        BadRecord: it cannot be read, is no ablation, or another one than its name says.
    """
    if isinstance(content, OSError):
        raise BadRecord(f"{path} cannot be read ({content.strerror})")
    found = parse(_Remembered, content, path).root
    named = re.search(r"-([0-9a-f]{12})$", path.stem)
    if named and named[1] != digest(asdict(found)):
        raise BadRecord(f"{path} is not as it was written; the same `ablate` command writes it again")
    return found


class _Remembered(RootModel[Ablation]):
    """What a file of FOLDER holds."""

    @model_validator(mode="after")
    def _is_factorial(self) -> Self:
        design = self.root.design
        if [*design.variants.values()] != [
            *itertools.islice(itertools.product(*design.factors.values()), len(design.variants) + 1)
        ]:
            raise ValueError("the variants are not all combinations of the levels")
        return self
