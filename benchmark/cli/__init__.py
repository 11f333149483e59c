"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys

from benchmark.cli import grids, stores, tools
from benchmark.cli.console import app, err, escaped, out
from benchmark.errors import BadInput

__all__ = ["app", "err", "grids", "main", "out", "stores", "tools"]


def main() -> None:
    """Run the command line; bad input is one sentence on stderr and exit code 2."""
    try:
        app()
    except (BadInput, OSError) as error:
        problem = _as_bad_input(error)
        err.print(f"[bold red]error:[/] {escaped(problem)}", highlight=False, soft_wrap=True)
        sys.exit(2)


def _as_bad_input(error: Exception) -> Exception:
    """A full disk, wherever it was met, in the words of the store; other errors of the operating system are not the user's to fix."""
    from benchmark.files import disk_full_is_told

    try:
        with disk_full_is_told():
            raise error
    except BadInput as problem:
        return problem
