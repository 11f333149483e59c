"""From words to a protocol: a preset, a preset with changes in brackets, or a YAML file of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.ground.errors import BadInput, meant, quoted, short
from benchmark.ground.feasibility import check_feasible
from benchmark.ground.grammar import as_typed, parse_value, split_item
from benchmark.ground.protocol import PROTOCOLS, Protocol, flat, named
from benchmark.ground.registry import NAME


def get_protocol(text: str) -> Protocol:
    """The protocol that ``--protocol`` names: a preset, a preset with changes in brackets, or a YAML file.

    Raises:
        BadInput: no such preset, rule or file, a value that a rule cannot have, or rules that do not go together.
    """
    if text.lower().endswith((".yaml", ".yml")):
        return _from_file(Path(text))
    name, given = split_item("--protocol", text)
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


def _from_file(file: Path) -> Protocol:
    """The protocol that a YAML file describes, called by the file's name."""
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
    protocol = protocol.model_copy(update={"name": name, "base": base})
    protocol = protocol.model_copy(update={"summary": protocol.title})
    check_feasible(where, protocol)
    return protocol


def _read(where: str, file: Path) -> dict[str, Any]:
    """The file's keys, those of a mapping as ``swin.window``, and values, read by the grammar of the command line."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise BadInput(f"{where} has an alias (*name); expected each value written out")
        node = yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror}); expected a YAML file of base and rules") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{where} is no YAML ({reason}); expected lines such as base: paper and steps: 8000") from None
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{where} holds no rules; expected lines such as base: paper and steps: 8000")
    found: dict[str, Any] = {}
    for name, value in _pairs(where, node, ""):
        if name in found:
            raise BadInput(f"{where} has {name} twice; expected it once")
        found[name] = value
    return found


def _pairs(where: str, node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import yaml

    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(f"{where} has a key that is no name; expected lines such as base: paper and steps: 8000")
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and not prefix:
            yield from _pairs(where, value, f"{name}.")
        else:
            yield name, _value(f"{where}, {name}", value)


def _value(where: str, node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return parse_value(where, node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [_value(where, item) for item in node.value]
    raise BadInput(f"{where}: found values within values; expected a number, text or a list of these")
