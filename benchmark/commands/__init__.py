"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from benchmark.commands import grids, stores, tools
from benchmark.commands.console import app, err, escaped, out
from benchmark.ground.errors import BadInput
from benchmark.ground.faults import DEBUG, UNFORESEEN, in_words, trace, unforeseen

__all__ = ["app", "err", "grids", "main", "out", "stores", "tools"]


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
