"""``--config FILE``: an experiment as a file. Its values become the defaults of a command's options; the command line goes before them.

    # experiments/example.yaml
    labels: 1,3,7
    methods:                # a list is a comma list
      - cctr
      - cctr[rsl=false]
    runs: 3

A key is an option's name, with dashes or underscores; a value is what the command line takes, letter by letter (``010`` is ten), so a
relative path counts from the working directory, and ``~/`` is the home folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from benchmark.ground.errors import BadInput, meant, quoted
from benchmark.ground.plain_yaml import is_empty, read_pairs, scalars

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
    for key, node in read_pairs(f"--config: {file}", file, "lines such as labels: 1,3,7"):
        name = key.replace("-", "_")
        if name not in options:
            raise BadInput(f"{file}: {quoted(key)} is no option of {context.info_name}; {meant(name, options)}")
        if name in found:
            raise BadInput(f"{file} has {name} twice; expected it once, with dashes or underscores")
        if is_empty(node):
            continue
        texts = _texts(file, key, node)
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


def _texts(file: Path, key: str, node: Any) -> list[str]:
    """The values of a key as one would type them."""
    parts = scalars(node)
    if parts is None:
        raise BadInput(f"{file}: {key} holds values within values; expected text, a number, true or false, or a list of these")
    if len(parts) > 1 and any(map(is_empty, parts)):
        raise BadInput(
            f"{file}: {key} holds an empty value among others; expected text, a number, true or false, or a list of these"
        )
    return [os.path.expanduser(part.value) if part.value.startswith("~/") else part.value for part in parts]
