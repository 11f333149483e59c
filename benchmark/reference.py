"""docs/commands.md from the command line's options, docs/records.md from what records are checked against."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any, get_args

from typer.models import OptionInfo

from benchmark.cell import metrics
from benchmark.commands import app
from benchmark.records.schema import Record
from benchmark.records.store import CASE_COLUMNS

MADE = "Made from the code by `make docs`; a test holds that it is up to date."

STORE = """A store is a folder. A cell lies in `<store>/<dataset>/<method>/<cell id>/`, with `cell.json` (what it is), `record.json`
(how it ended), `cases.csv` (the long table), `history.csv` (losses by step), `model.safetensors` (last weights), `best.safetensors` (those
that did best on validation, where they are others) and `.done`, the checksums of all. All else in a store can be made again."""


def commands_page() -> str:
    """Every command with its options, Markdown."""
    parts = [f"# The command line\n\n{MADE} `python -m benchmark COMMAND --help` says the same."]
    for command in app.registered_commands:
        assert command.callback is not None
        options = [_row(parameter) for parameter in inspect.signature(command.callback).parameters.values()]
        name = command.name or command.callback.__name__
        head = f"## {name}\n\n{' '.join(inspect.cleandoc(command.callback.__doc__ or '').split())}"
        table = "| option | default | what it is |\n|:---|:---|:---|\n" + "\n".join(options)
        parts.append(f"{head}\n\n{table}\n\n{inspect.cleandoc(command.epilog or '')}")
    return "\n\n".join(parts) + "\n"


def _row(parameter: inspect.Parameter) -> str:
    kind, info = get_args(parameter.annotation)[:2]
    is_option = isinstance(info, OptionInfo)
    name = next(iter(info.param_decls or ()), f"--{parameter.name.replace('_', '-')}") if is_option else parameter.name.upper()
    told, _, shown = " ".join((info.help or "").split()).partition("[default: ")
    values = [str(value.value) for value in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
    choices = f" One of {', '.join(values)}." if values else ""
    return f"| `{name}` | {shown.rstrip(']') or _default(parameter)} | {told.strip()}{choices} |".replace("K|loo", r"K\|loo")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "must be given"
    value = getattr(parameter.default, "value", parameter.default)
    return "" if value in (None, False) else f"`{value}`"


def records_page() -> str:
    """Files of a store, the fields of a record and the columns of the long table, Markdown."""
    fields = [f"| `{name}` | {_kind(field)} |" for name, field in Record.model_fields.items()]
    return "\n".join(
        [
            f"# Records and metrics\n\n{MADE}\n",
            f"{STORE}\n",
            f"## cases.csv\n\nColumns: {', '.join(f'`{name}`' for name in CASE_COLUMNS)}.\n",
            f"## Metrics\n\n```\n{inspect.cleandoc(metrics.__doc__ or '')}\n```\n",
            "## record.json\n\n```\n" + inspect.cleandoc(Record.__doc__ or "") + "\n```\n\n| field | |\n|:---|:---|",
            *fields,
            "",
        ]
    )


def _kind(field: Any) -> str:
    return "always there" if field.is_required() else f"default `{field.get_default(call_default_factory=True)!r}`"
