"""What goes wrong outside of the project's hands, in words: errors of the operating system, and those that nobody foresaw."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from pathlib import Path

from benchmark.ground.errors import BadInput
from benchmark.ground.files import UNWRITABLE, disk_full_is_told
from benchmark.ground.redaction import without_secrets

DEBUG = "BENCHMARK_DEBUG"
"""Environment variable, which ``--debug`` sets: show where in the code an error came from."""

UNFORESEEN = 70
"""Exit code of an error that nobody foresaw (EX_SOFTWARE of sysexits.h)."""

CODE = Path(__file__).resolve().parents[2]
OURS = (sys.prefix, *(str(CODE / package) for package in ("benchmark", "datasets", "methods", "reports")))
"""Folders of code: what is missing there is no user's to mend."""

MEANINGS = {
    errno.EACCES: "may not be read or written by this user; change its permissions, or name another",
    errno.EPERM: "may not be changed by this user; change its owner or flags, or name another",
    errno.EISDIR: "is a folder, expected a file; move it away",
    errno.ENOTDIR: "is a file, or lies below one, expected a folder; move it away, or name another",
    errno.EEXIST: "is there already, and is not what was expected; move it away",
    errno.ENOTEMPTY: "is a folder that is not empty, expected a file or nothing; move it away",
    errno.ENAMETOOLONG: "has a longer name than the disk can hold; name a shorter path",
    errno.EMFILE: "is one open file too many for this process; raise the limit (ulimit -n), or lower --jobs",
    errno.ENFILE: "is one open file too many for this machine; close other programs, or lower --jobs",
    errno.EFBIG: "would be larger than a file may be here; raise the limit (ulimit -f), or name another disk",
    errno.ELOOP: "is a link that leads to itself or may not be followed, expected a file or folder; remove the link",
    errno.ENOENT: "is not there; check the path",
    errno.EIO: "could not be read or written, for the disk reports a fault; check the disk",
    errno.ESTALE: "was lost by the network disk; mount it again, and repeat the command",
    errno.ENOMEM: "found no memory left; free some, or lower --jobs",
}


def in_words(error: OSError) -> BadInput | None:
    """The sentence on an error of the operating system, with its file; None where it is not the user's to mend."""
    if error.errno in UNWRITABLE:
        try:
            with disk_full_is_told():
                raise error
        except BadInput as full:
            return full
    file = error.filename2 or error.filename
    if error.errno not in MEANINGS or (error.errno == errno.ENOENT and (file is None or str(file).startswith(OURS))):
        return None
    return BadInput(f"{os.fsdecode(file) if isinstance(file, str | bytes | Path) else 'a file'} {MEANINGS[error.errno]}")


def unforeseen(error: Exception) -> str:
    """The sentence on any other error, its traceback put down in a file of the temporary folder, where one can be written."""
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
    try:
        descriptor, name = tempfile.mkstemp(prefix="benchmark-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(trace(error))
    except OSError:
        return f"{what}; this is a fault of the benchmark, please report it with what --debug shows"
    return f"{what}; this is a fault of the benchmark, please report it with {name}, which says where it was"


def trace(error: BaseException) -> str:
    """Where an error came from, without secrets."""
    return without_secrets("".join(traceback.format_exception(error)))
