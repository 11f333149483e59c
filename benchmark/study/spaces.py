"""What is searched for a method at a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.ground.grammar import as_typed
from benchmark.ground.ranges import Range, contains, ends, ranges_of, rounded
from benchmark.study.grid import Selection, resolve


@dataclass(frozen=True)
class Space:
    """What is searched for one method at one budget: its tunable hparams but those that the user fixed."""

    base: Selection
    labels: int
    ranges: dict[str, Range]

    @property
    def published(self) -> dict[str, Any]:
        """The published values of what is searched."""
        return {name: self.base.hparams[name] for name in self.ranges}

    def values(self, found: dict[str, Any]) -> dict[str, Any]:
        """Values as they are used: of four digits where they are not the published ones."""
        base = self.base.hparams
        kept = {name: found[name] == base[name] for name in self.ranges}
        exact = {name: float(found[name]) if _is_fraction(self.ranges[name]) else found[name] for name in self.ranges}
        return {name: exact[name] if kept[name] else rounded(self.ranges[name], found[name]) for name in self.ranges}

    def selection(self, values: dict[str, Any]) -> Selection:
        """The method with these values.

        Raises:
            BadInput: it does not take them together.
        """
        return resolve("tune", self.base.method, self.base.hparams | values)


def _is_fraction(found: Range) -> bool:
    return "choices" not in found and not found.get("whole")


def search_space(base: Selection, labels: int) -> Space:
    """The ranges that the method's file names; a hparam that ``base`` changes from its default is fixed.

    Raises:
        BadInput: there is none, or one has a value that the method refuses, or not the published one.
    """
    schema = registry.load("methods", base.method).Hparams  # type: ignore[attr-defined]
    ranges = {}
    for name, found in ranges_of(schema).items():
        used = base.hparams.get("rsl", True) or not name.startswith("rsl_")
        if base.hparams[name] == schema.model_fields[name].default and used:
            ranges[name] = found
            _check(schema, base, name, found)
    if not ranges:
        raise BadInput(f"--methods: {base.variant} has nothing to tune; expected a method that trains; leave it out")
    return Space(base, labels, dict(sorted(ranges.items())))


def _check(schema: Any, base: Selection, name: str, found: Range) -> None:
    """Before anything is written down, that a range has no value that its field refuses, and has the published one."""
    if not contains(found, base.hparams[name]):
        raise BadInput(
            f"tune: the default of {base.method}[{name}={as_typed(base.hparams[name])}] is outside of its range; correct the two"
        )
    for value in ends(found):
        try:
            schema(**base.hparams | {name: value})
        except ValidationError as error:
            for problem in error.errors():
                if problem["loc"][:1] == (name,):
                    wrong = f"{base.method}[{name}={as_typed(value)}]"
                    raise BadInput(
                        f"tune: {wrong} is in the range that is searched, and refused: {problem['msg'].lower()}"
                    ) from None


def search_names(method: str) -> set[str]:
    """Names of the method's tunable hparams."""
    return set(ranges_of(registry.load("methods", method).Hparams))  # type: ignore[attr-defined]
