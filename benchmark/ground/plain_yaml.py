"""YAML as people mean it: values are what was typed. YAML 1.1 would read 010 as 8, 1:30 as 90, no as false, 2025-01-01 as a date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput

EMPTY = ("", "~", "null")


def read_pairs(where: str, file: Path, expected: str) -> list[tuple[str, Any]]:
    """The keys of a file and the nodes of their values, in order. where: how messages name the file; expected: what it should hold.

    Raises:
        BadInput: it cannot be read, is no YAML, no mapping, has an alias, or a key twice.
    """
    import yaml

    try:
        content = file.read_bytes()
        for event in yaml.parse(content, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
                sign = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else "a tag (!name)"
                raise BadInput(f"{where} has {sign}; expected each value written out")
        node = yaml.compose(content, yaml.SafeLoader)
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror}); expected {expected}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no YAML ({' '.join(str(error).split())}); expected {expected}") from None
    if not isinstance(node, yaml.MappingNode):
        held = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}.get(type(node), "nothing")
        raise BadInput(f"{where} holds {held}; expected {expected}")
    return pairs_of(where, node, expected)


def pairs_of(where: str, node: Any, expected: str) -> list[tuple[str, Any]]:
    """Keys and nodes of a mapping.

    Raises:
        BadInput: a key is no name, or comes twice.
    """
    import yaml

    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(f"{where} has a key that is no name; expected {expected}")
        if key.value in found:
            raise BadInput(f"{where} has {key.value} twice; expected it once")
        found[key.value] = value
    return list(found.items())


def is_empty(node: Any) -> bool:
    """Whether nothing was written, or null without quotes."""
    import yaml

    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in EMPTY


def scalars(node: Any) -> list[Any] | None:
    """The single values of a node, one or those of a list; None where it holds values within values."""
    import yaml

    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return parts if all(isinstance(part, yaml.ScalarNode) for part in parts) else None
