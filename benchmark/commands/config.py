"""``--config FILE``: an experiment as a file. Its values become the defaults of a command's options; the command line goes before them.

    # experiments/example.yaml
    labels: 1,3,7
    methods:                # a list is a comma list
      - cctr
      - cctr[rsl=false]
    runs: 3

A key is an option's name, with dashes or underscores; a value is what the command line takes, so a relative path counts from the working
directory, and ``~/`` is the home folder.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import typer

from benchmark.ground.errors import BadInput, meant, quoted

EXCLUDED_BY = {"runs": ("draws", "seeds"), "draws": ("runs",), "seeds": ("runs",)}


def take_options(context: typer.Context, file: Path | None) -> Path | None:
    """Callback of ``--config``: the file's values become the defaults of the command's other options.

    Raises:
        BadInput: the file cannot be read, names no option of the command, or has a value that the option refuses.
    """
    if file is None:
        return None
    options: dict[str, Any] = {p.name: p for p in context.command.params if p.name != "config"}
    found: dict[str, Any] = {}
    for key, value in _read(file).items():
        name = key.replace("-", "_")
        if name not in options:
            raise BadInput(f"{file}: {quoted(key)} is no option of {context.info_name}; {meant(name, options)}")
        if name in found:
            raise BadInput(f"{file} has {name} twice; expected it once, with dashes or underscores")
        if value is None:
            continue
        texts = [_text(file, key, item) for item in (value if isinstance(value, list) else [value])]
        found[name] = texts if options[name].multiple else ",".join(texts)
        try:
            options[name].process_value(context, found[name])
        except typer.BadParameter as error:
            reason = error.message.rstrip(".")
            option = f"--{name.replace('_', '-')}"
            raise BadInput(
                f"{file}: {key} cannot be {quoted(','.join(texts))} ({reason}); expected what {option} takes, see --help"
            ) from None
    context.default_map = found
    return file


def give_way(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """Callback of options that exclude each other: the file's value does not count where the command line has one of another.

    Options of the command line are handled before others.
    """
    given = [context.get_parameter_source(name) for name in (parameter.name, *EXCLUDED_BY[str(parameter.name)])]
    by_hand = [source is not None and source.name == "COMMANDLINE" for source in given]
    return value if by_hand[0] or not any(by_hand) else None


def _read(file: Path) -> dict[str, Any]:
    """The file's keys and values, keys as text."""
    import yaml

    try:
        text = file.read_bytes()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise BadInput(f"--config: {file} has an alias (*name); expected each value written out")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        content = loader.construct_document(node) if node else None
    except OSError as error:
        raise BadInput(f"--config: {file} cannot be read ({error.strerror}); expected a YAML file of options") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"--config: {file} is no YAML ({reason}); expected lines such as labels: 1,3,7") from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(content, dict):
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise BadInput(f"--config: {file} holds {held}; expected an option and its value a line, such as labels: 1,3,7")
    for key, count in Counter(str(key.value) for key, _ in node.value).items():
        if count > 1:
            raise BadInput(f"{file} has {key} {count} times; expected it once")
    return {str(key): value for key, value in content.items()}


def _text(file: Path, key: str, value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return os.path.expanduser(value) if value.startswith("~/") else value
    raise BadInput(f"{file}: {key} holds a {type(value).__name__}; expected text, a number, true or false, or a list of these")
