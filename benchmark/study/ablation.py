"""Factors of a method: from ``rsl,reps`` or ``registration=identity|affine`` to the full factorial of its variants.

A factor is any field of the method's hparams. Its first level is the baseline against which effects are counted.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, RootModel, model_validator

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.files import safe_name, write_atomically
from benchmark.ground.grammar import KEY, as_typed, parse_value, split, split_item, split_list
from benchmark.records.grid import Selection, digest, resolve
from benchmark.records.schema import BadRecord, Line, Name, read
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
        for path in sorted((store.root / FOLDER).glob("*.json")):
            try:
                found[path.name] = read(_Remembered, path).root
            except (OSError, BadRecord) as error:
                reason = f"{path} cannot be read ({error.strerror})" if isinstance(error, OSError) else error
                tell(f"left out: {reason}")
    return list(found.values())


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


def parse_design(method: str, factors: str) -> tuple[Design, list[Selection]]:
    """The factorial that the options name, and its variants in the order of the levels.

    method: ``name`` or ``name[param=value,...]``, what all variants share. factors: a comma list of ``name`` (a switch, off and on)
    or ``name=level|level|...``.

    Raises:
        BadInput: bad grammar, an unknown method or hparam, a value that it refuses, a factor with fewer than two levels or a value in
            ``method`` already.
    """
    items = split_list(method)
    if len(items) != 1:
        raise BadInput(f"--method: {method!r} names {len(items)} methods; expected one, e.g. cctr")
    name, given = split_item("--method", items[0])
    registry.check_name("methods", name)
    base = resolve("--method", name, given)
    levels = _parse_factors(factors, base)
    if taken := sorted(given.keys() & levels.keys()):
        raise BadInput(
            f"--factors: {taken[0]} has a value in --method already; expected it in one of the two, so leave one out"
        )
    variants, selections = {}, []
    for combination in itertools.product(*levels.values()):
        selection = resolve("--factors", name, given | dict(zip(levels, combination, strict=True)))
        if selection.variant in variants:
            raise BadInput(f"--factors: {selection.variant} comes twice; expected levels that differ")
        variants[selection.variant] = tuple(map(as_typed, combination))
        selections.append(selection)
    texts = {factor: tuple(map(as_typed, values)) for factor, values in levels.items()}
    return Design(base.variant, texts, variants), selections


def _parse_factors(text: str, base: Selection) -> dict[str, list[Any]]:
    """Factor to its levels. A switch without levels is off, then on."""
    factors: dict[str, list[Any]] = {}
    for item in split_list(text):
        factor, equals, values = (part.strip() for part in item.partition("="))
        if factor not in base.hparams:
            raise BadInput(f"--factors: {base.method} has no parameter {factor!r}; its parameters: {', '.join(base.hparams)}")
        if factor in factors:
            raise BadInput(f"--factors: {factor} comes twice; expected each factor once")
        if not equals and not isinstance(base.hparams[factor], bool):
            raise BadInput(f"--factors: {factor} is no switch; expected its levels, baseline first, e.g. {factor}=LEVEL|LEVEL")
        factors[factor] = [parse_value("--factors", value) for value in split(values, "|")] if equals else [False, True]
        if len(factors[factor]) < 2:
            raise BadInput(f"--factors: {item!r} has one level; expected two or more, e.g. {factor}=LEVEL|LEVEL")
    if not factors:
        raise BadInput("--factors names no factor; expected a comma list such as rsl,reps")
    return factors
