"""The one grammar of what is typed: ``name[param=value,...]``, for methods, factors and protocols.

A value is a number, ``true`` or ``false``, a list in brackets, or text, which may stand in quotes. Commas count outside brackets and
quotes alone. Nothing else means anything: ``no`` and ``on`` are text, and so is ``1_000``.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from benchmark.ground.errors import BadInput, quoted
from benchmark.ground.registry import NAME

KEY = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
BARE = re.compile(r"[^\s\[\],='\"|]([^\[\],='\"|]*[^\s\[\],='\"|])?")
TRUTH = {"true": True, "false": False}


def split_list(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside brackets and quotes; blanks around parts and empty parts are dropped."""
    return [part for part in split(text, separator) if part]


def split(text: str, separator: str) -> list[str]:
    """As ``split_list``, with empty parts."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[]":
            depth = max(0, depth + (1 if letter == "[" else -1))
        elif letter == separator and not depth:
            parts.append("")
            continue
        parts[-1] += letter
    return [part.strip() for part in parts]


def split_item(option: str, item: str) -> tuple[str, dict[str, Any]]:
    """A name and the values given to it, from ``name`` or ``name[param=value,...]``.

    Raises:
        BadInput: anything else, or a parameter that comes twice.
    """
    match = re.fullmatch(rf"({NAME})(?:\[(.*)\])?", item.strip(), re.DOTALL)
    if not match:
        raise BadInput(f"{option}: cannot read {quoted(item)}; expected name or name[param=value,...]")
    given: dict[str, Any] = {}
    for pair in split_list(match[2] or ""):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not re.fullmatch(KEY, key):
            raise BadInput(f"{option}: cannot read {quoted(pair)} in {quoted(item)}; expected param=value")
        if key in given:
            raise BadInput(f"{option}: {quoted(item)} has {key} twice; expected it once")
        given[key] = parse_value(option, value)
    return match[1], given


def parse_value(option: str, text: str) -> Any:
    """A number, a truth value, a list or text, as typed.

    Raises:
        BadInput: brackets or quotes that do not close, nothing at all, a number that is too large.
    """
    text = text.strip()
    if text.lower() in TRUTH:
        return TRUTH[text.lower()]
    if WHOLE.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        if not math.isfinite(float(text)):
            raise BadInput(f"{option}: {quoted(text)} is no number that a computer holds; expected a smaller one")
        return float(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        return text[1:-1]
    if re.fullmatch(r"\[[^\[\]]*\]", text, re.DOTALL):
        items = split(text[1:-1], ",")
        return [parse_value(option, item) for item in items] if any(items) else []
    if BARE.fullmatch(text):
        return text
    raise BadInput(
        f"{option}: cannot read the value {quoted(text)}; expected a number, true, false, text or a list such as [8,16]"
    )


def as_typed(value: Any) -> str:
    """A value as the grammar writes it: false, 0.5, affine, [8,16]; text in quotes where it would read as something else."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(as_typed, value))}]"
    if not isinstance(value, str):
        return json.dumps(value, default=str).strip('"')
    plain = BARE.fullmatch(value) and value.lower() not in TRUTH and not NUMBER.fullmatch(value)
    return value if plain else f"'{value}'"
