"""Where commands print, and how."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console

from benchmark.ground.redaction import for_records, without_secrets

ANY_WIDTH = 10_000
out = Console(width=None if sys.stdout.isatty() else ANY_WIDTH)  # a pipe or a file has no width: nothing is cut or wrapped
err = Console(stderr=True)


def note(text: str) -> None:
    """Say something beside the result."""
    err.print(without_secrets(text), highlight=False, markup=False, soft_wrap=True)


def wrote(files: list[Path]) -> None:
    """Name the files that a command wrote."""
    for file in files:
        err.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)


def escaped(error: object) -> str:
    """An error's text for printing: without secrets, its brackets no markup."""
    from rich.markup import escape

    return escape(without_secrets(str(error)))


def command_line() -> str:
    """The command line as records hold it."""
    return for_records(shlex.join(["python", "-m", "benchmark", *sys.argv[1:]]))


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end a command with a word and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        err.print("stopped; the same command continues from here")
        raise typer.Exit(getattr(stopped, "code", 130)) from None
