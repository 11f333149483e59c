"""From words to a protocol: a preset, a preset with changes in brackets, or a YAML file of one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.ground.errors import BadInput, meant, quoted, short
from benchmark.ground.feasibility import check_feasible
from benchmark.ground.grammar import as_typed, parse_value, split_item
from benchmark.ground.plain_yaml import pairs_of, read_pairs, scalars
from benchmark.ground.protocol import PROTOCOLS, Protocol, flat, named
from benchmark.ground.registry import NAME

LINES = "lines such as base: paper and steps: 8000"


def get_protocol(text: str, precision: str | None = None) -> Protocol:
    """The protocol that ``--protocol`` names: a preset, a preset with changes in brackets, or a YAML file.

    precision: instead of its own.

    Raises:
        BadInput: no such preset, rule or file, a value that a rule cannot have, or rules that do not go together.
    """
    if text.lower().endswith((".yaml", ".yml")):
        return _from_file(Path(text), precision)
    name, given = split_item("--protocol", text)
    given |= {"precision": precision} if precision else {}
    base = _preset("--protocol", name)
    protocol = _changed("--protocol", base, given)
    title = named(name, dict(flat(protocol)))
    if title == name:
        return base
    protocol = protocol.model_copy(update={"name": title, "summary": title, "base": name})
    check_feasible("--protocol", protocol)
    return protocol


def _preset(where: str, name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise BadInput(f"{where}: no protocol is called {quoted(name)}; {meant(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def _changed(where: str, base: Protocol, given: dict[str, Any]) -> Protocol:
    """The preset with other rules.

    Raises:
        BadInput: ``where`` names no rule, or a value that it cannot have.
    """
    known = list(dict(flat(base)))
    content = base.model_dump(mode="json")
    for name, value in given.items():
        if name not in known:
            raise BadInput(f"{where}: {base.name} has no rule {quoted(name)}; {meant(name, known)}")
        part, _, inner = name.partition(".")
        if inner:
            content[part][inner] = value
        else:
            content[part] = value
    try:
        return Protocol.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        wrong = f"{base.name}[{name}={short(as_typed(given.get(name)))}]"
        raise BadInput(f"{where}: {wrong}: {first['msg'].lower()}; expected something like {_example(base, name)}") from None


def _example(base: Protocol, name: str) -> str:
    return f"{name}={as_typed(dict(flat(base))[name])}, as {base.name} has it"


def _from_file(file: Path, precision: str | None) -> Protocol:
    """The protocol that a YAML file describes, called by the file's name; with another precision, by that, too."""
    where, name = f"--protocol: {file}", file.stem
    if not re.fullmatch(NAME, name) or name in PROTOCOLS:
        reason = "is a preset's" if name in PROTOCOLS else "cannot be one"
        raise BadInput(
            f"{where}: the file's name is the protocol's, and {quoted(name)} {reason}; expected letters, digits, _ and - of its own"
        )
    given = dict(_read(where, file))
    base = given.pop("base", None)
    if not isinstance(base, str):
        raise BadInput(
            f"{where} has no base; expected a line such as base: paper, and rules that differ; {meant('', PROTOCOLS)}"
        )
    protocol = _changed(where, _preset(where, base), given)
    if precision and precision != protocol.precision:
        name = f"{name}-{precision}"
        protocol = protocol.model_copy(update={"precision": precision})
    protocol = protocol.model_copy(update={"name": name, "base": base})
    protocol = protocol.model_copy(update={"summary": protocol.title})
    check_feasible(where, protocol)
    return protocol


def _read(where: str, file: Path) -> dict[str, Any]:
    """The file's keys, those of a mapping as ``swin.window``, and values, read by the grammar of the command line."""
    import yaml

    found: dict[str, Any] = {}
    for name, node in read_pairs(where, file, LINES):
        inner = isinstance(node, yaml.MappingNode)
        for key, value in (
            [(f"{name}.{key}", value) for key, value in pairs_of(where, node, LINES)] if inner else [(name, node)]
        ):
            if key in found:
                raise BadInput(f"{where} has {key} twice; expected it once")
            found[key] = _value(f"{where}, {key}", value)
    return found


def _value(where: str, node: Any) -> Any:
    import yaml

    parts = scalars(node)
    if parts is None:
        raise BadInput(f"{where}: found values within values; expected a number, text or a list of these")
    values = [parse_value(where, part.value) if part.style is None else part.value for part in parts]
    return values if isinstance(node, yaml.SequenceNode) else values[0]
