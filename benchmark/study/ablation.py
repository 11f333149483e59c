"""Factors of a method: from ``rsl,reps`` or ``registration=identity|affine`` to the full factorial of its variants.

A factor is any field of the method's hparams. Its first level is the baseline against which effects are counted.
"""

from __future__ import annotations

import itertools
from typing import Any

from benchmark.ground import registry
from benchmark.ground.errors import BadInput, quoted
from benchmark.ground.grammar import as_typed, parse_value, split, split_item, split_list
from benchmark.records.ablations import Design
from benchmark.study.grid import Selection, resolve


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
        raise BadInput(f"--method: {quoted(method)} names {len(items)} methods; expected one, e.g. cctr")
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
            raise BadInput(
                f"--factors: {base.method} has no parameter {quoted(factor)}; its parameters: {', '.join(base.hparams)}"
            )
        if factor in factors:
            raise BadInput(f"--factors: {factor} comes twice; expected each factor once")
        if not equals and not isinstance(base.hparams[factor], bool):
            raise BadInput(f"--factors: {factor} is no switch; expected its levels, baseline first, e.g. {factor}=LEVEL|LEVEL")
        factors[factor] = [parse_value("--factors", value) for value in split(values, "|")] if equals else [False, True]
        if len(factors[factor]) < 2:
            raise BadInput(f"--factors: {quoted(item)} has one level; expected two or more, e.g. {factor}=LEVEL|LEVEL")
    if not factors:
        raise BadInput("--factors names no factor; expected a comma list such as rsl,reps")
    return factors
