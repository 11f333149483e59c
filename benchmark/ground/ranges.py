"""Ranges: the values among which tuning searches a hyper-parameter, from its type and what ``tunable`` notes; as records hold them.

A number's range has ``low``, ``high`` and ``log``, with ``whole`` where it is an integer; that of a switch or of a Literal has ``choices``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from benchmark.ground.errors import BadInput
from benchmark.ground.grammar import as_typed

if TYPE_CHECKING:
    import optuna

Range = dict[str, Any]


def ranges_of(schema: Any) -> dict[str, Range]:
    """By name, the ranges of the tunable fields of a method's ``Hparams``.

    Raises:
        BadInput: a field's type is none that can be searched, or its bounds make no range.
    """
    found = {}
    for name, field in schema.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and "search" in field.json_schema_extra:
            found[name] = _range(f"{schema.__qualname__}.{name}", field.annotation, field.json_schema_extra["search"])
    return found


def _range(name: str, kind: Any, search: dict[str, Any]) -> Range:
    bounded = search.get("low") is not None and search.get("high") is not None
    if kind is bool or get_origin(kind) is Literal:
        if bounded:
            raise BadInput(f"{name} is tuned over all values of its type; leave out low and high")
        return {"choices": [False, True] if kind is bool else list(get_args(kind))}
    if kind not in (int, float) or not bounded:
        expected = "a number with low and high, a bool or a Literal"
        raise BadInput(f"{name} is {'a number without low and high' if kind in (int, float) else kind}; expected {expected}")
    made = {key: search[key] for key in ("low", "high", "log")} | ({"whole": True} if kind is int else {})
    fits = kind is float or (float(made["low"]).is_integer() and float(made["high"]).is_integer())
    if not made["low"] < made["high"] or not fits or (made["log"] and made["low"] <= 0):
        raise BadInput(
            f"{name} has the range {in_words(made)}; expected low < high, whole ones of an int, above 0 where it is log"
        )
    return made | {key: int(made[key]) for key in ("low", "high") if kind is int}


def distribution(found: Range) -> optuna.distributions.BaseDistribution:
    """The range as Optuna knows it."""
    from optuna import distributions

    if "choices" in found:
        return distributions.CategoricalDistribution(found["choices"])
    kind = distributions.IntDistribution if found.get("whole") else distributions.FloatDistribution
    return kind(found["low"], found["high"], log=found["log"])


def ends(found: Range) -> list[Any]:
    """The choices, or the lowest and the highest number."""
    return list(found["choices"]) if "choices" in found else [found["low"], found["high"]]


def contains(found: Range, value: Any) -> bool:
    """Whether the range has the value."""
    return value in found["choices"] if "choices" in found else bool(found["low"] <= value <= found["high"])


def rounded(found: Range, value: Any) -> Any:
    """The value as it is used: a fraction with four digits, inside the range."""
    if "choices" in found:
        return value
    if found.get("whole"):
        return int(value)
    return float(min(max(float(f"{value:.4g}"), found["low"]), found["high"]))


def place(found: Range, value: Any) -> float:
    """Where a value stands in its range, 0 to 1; one outside is put at the edge."""
    if "choices" in found:
        return found["choices"].index(value) / max(1, len(found["choices"]) - 1) if value in found["choices"] else 0.0
    low, high = found["low"], found["high"]
    if found["log"]:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return min(max((value - low) / (high - low), 0.0), 1.0)


def in_words(found: Range) -> str:
    """``0.01 to 10, log``; ``1 to 5, whole``; ``false, true``."""
    if "choices" in found:
        return ", ".join(map(as_typed, found["choices"]))
    marks = [mark for mark in ("log", "whole") if found.get(mark)]
    return ", ".join([f"{found['low']:g} to {found['high']:g}", *marks])
