"""The application: how a command is declared, and what becomes of its errors."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, NoReturn, get_type_hints

import typer

from benchmark.commands.console import err, escaped
from benchmark.ground.errors import BadInput
from benchmark.ground.faults import DEBUG, UNFORESEEN, in_words, trace, unforeseen

app = typer.Typer(
    name="benchmark",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare semi-supervised medical image segmentation methods under rules that are equal for all.",
)


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error came from.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"


def command(name: str | None = None, *, epilog: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command. A parameter whose type is a data class stands for an option for each of its fields."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        types = get_type_hints(function, include_extras=True)
        groups: dict[str, Any] = {key: kind for key, kind in types.items() if is_dataclass(kind)}
        options: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            options += _of_fields(groups[parameter.name]) if parameter.name in groups else [_option(parameter, types)]

        def wrapped(**values: Any) -> None:
            for key, kind in groups.items():
                values[key] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
            function(**values)

        wrapped.__name__, wrapped.__doc__ = function.__name__, function.__doc__
        wrapped.__annotations__ = {option.name: option.annotation for option in options}
        wrapped.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        return app.command(name, epilog=epilog)(wrapped)

    return decorate


def _option(parameter: inspect.Parameter, types: dict[str, Any]) -> inspect.Parameter:
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[parameter.name])


@cache
def _of_fields(kind: Any) -> list[inspect.Parameter]:
    """An option for each field of a data class."""
    types = get_type_hints(kind, include_extras=True)
    by_name = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(f.name, by_name, default=f.default, annotation=types[f.name]) for f in fields(kind)]


def main() -> None:
    """Run the command line. Whatever goes wrong is one sentence on stderr: exit code 2 for bad input and what the user can mend on the
    machine, 70 for what nobody foresaw.
    """
    try:
        app()
    except BadInput as error:
        _end(error, str(error), 2)
    except Exception as error:  # the last resort
        problem = in_words(error) if isinstance(error, OSError) else None
        _end(error, str(problem) if problem else unforeseen(error), 2 if problem else UNFORESEEN)


def _end(error: Exception, sentence: str, code: int) -> NoReturn:
    if os.environ.get(DEBUG):
        err.print(trace(error), highlight=False, markup=False, soft_wrap=True)
    err.print(f"[bold red]error:[/] {escaped(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(code)
