"""What must not leave a machine inside a record, a tag or a message: passwords, and the names of home folders."""

from __future__ import annotations

import re
from pathlib import Path

HIDDEN = "***"
USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)[^\s'\"?#]*@")
SECRET = re.compile(
    r"(?i)(?<![a-z0-9])([a-z0-9_\-]*(?:password|passwd|passphrase|pwd|secret|token|credential|signature|api[_\-]?key|access[_\-]?key)"
    r"[a-z0-9_\-]*=)([^&\s'\";,]+)"
)
HOMES = re.compile(r"/(?:home|Users)/[^/\s'\":]+")
FOLDERS = re.compile(
    r"(?<=['\"])/(?:[^/'\"\n]+/)+|(?<![\w.~>:/-])(?:/|[A-Za-z]:\\)(?:[^\s'\":/\\]+[/\\])+|(?<=sqlite:///)/(?:[^\s'\":/]+/)+"
)
"""Of absolute paths, as a command line or a traceback has them."""


def without_secrets(text: str) -> str:
    """The text with stars for the user part of every URL, and for the value of everything called password, token and the like."""
    return SECRET.sub(rf"\1{HIDDEN}", USERINFO.sub(rf"\1{HIDDEN}@", text))


def for_records(text: str) -> str:
    """The text without secrets, and with ~ for home folders, as records, tags and exports hold it."""
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?=[/\s'\":]|$)", "~", text)
    return HOMES.sub("~", without_secrets(text))


def for_travel(text: str) -> str:
    """As ``for_records``, and of absolute paths the last part alone: what leaves a machine says nothing of its folders."""
    return FOLDERS.sub(".../", for_records(text))
