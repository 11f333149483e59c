"""The exceptions that mean: the user can fix this."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """One clear sentence: which file or option, what was found, what was expected, what to do. The command ends with exit code 2.

    It is one line whatever it repeats: letters that would break it, or that a terminal obeys, stand as escapes.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in sentence))


class DiskFull(BadInput):
    """Nothing more can be written, since the disk is full or can only be read; what is there is whole."""


class NotAsClaimed(BadInput):
    """Data is not what a file, or a cell, says it is."""


QUOTED = 40
"""Letters of what was found that a sentence repeats."""


def short(text: str) -> str:
    """What was found, for a sentence; of what is long, the beginning."""
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def quoted(text: str) -> str:
    """As ``short``, in quotes."""
    return repr(short(text))


def meant(name: str, known: Iterable[str]) -> str:
    """``did you mean 'steps'? known: ...``: the end of a sentence on a name that is not known."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(known)}"
