"""What is searched for a method at a budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.ground import registry
from benchmark.ground.errors import BadInput
from benchmark.study.grid import Selection, resolve


@dataclass(frozen=True)
class Space:
    """What is searched for one method at one budget: its tunable hparams but those that the user fixed."""

    base: Selection
    labels: int
    ranges: dict[str, dict[str, Any]]

    def selection(self, values: dict[str, Any]) -> Selection:
        """The method with these values, of four digits where they are not the published ones."""
        base = self.base.hparams
        short = {name: value if value == base[name] else float(f"{value:.4g}") for name, value in values.items()}
        return resolve("tune", self.base.method, base | short)


def search_space(base: Selection, labels: int) -> Space:
    """The ranges that the method's file names; a hparam that ``base`` changes from its default is fixed.

    Raises:
        BadInput: there is none.
    """
    schema = registry.load("methods", base.method).Hparams  # type: ignore[attr-defined]
    ranges = {}
    for name in search_names(base.method):
        field = schema.model_fields[name]
        used = base.hparams.get("rsl", True) or not name.startswith("rsl_")
        if base.hparams[name] == field.default and used:
            ranges[name] = field.json_schema_extra["search"]
    if not ranges:
        raise BadInput(f"--methods: {base.variant} has nothing to tune; expected a method that trains; leave it out")
    return Space(base, labels, dict(sorted(ranges.items())))


def search_names(method: str) -> set[str]:
    """Names of the method's tunable hparams."""
    fields = registry.load("methods", method).Hparams.model_fields  # type: ignore[attr-defined]
    return {n for n, f in fields.items() if isinstance(f.json_schema_extra, dict) and "search" in f.json_schema_extra}
