"""Files that are whole or not there, and that tell when they are no longer what was written."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from benchmark.errors import DiskFull

FULL = (errno.ENOSPC, errno.EDQUOT)
DIGEST_BYTES = 32
LONGEST_NAME = 120


def checksum(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def safe_name(text: str) -> str:
    """A file's name from text that may hold anything, without a suffix; what is long ends in a digest instead."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    return name if len(name.encode()) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 4]}-{checksum(text.encode())[:12]}"


@contextmanager
def disk_full_is_told(folder: Path | None = None) -> Iterator[None]:
    """Turn the operating system's word for a full disk or quota into DiskFull, which names the folder and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = folder or error.filename or "the store"
        raise DiskFull(
            f"no space is left on the disk (or in the quota) of {where}; free some and repeat the command: it continues, nothing is lost"
        ) from error


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Write so that ``path`` is either the old file or the whole new one, also after a crash (not after one of the machine unless durable).

    Raises:
        DiskFull: the old file is still there then.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # process numbers repeat on other machines and in containers
    with disk_full_is_told(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            error.filename, error.filename2 = str(path), None  # what the user knows of
            raise


def seal(content: bytes) -> bytes:
    """The content after its SHA-256 (32 bytes)."""
    return hashlib.sha256(content).digest() + content


def unseal(sealed: bytes) -> bytes | None:
    """What ``seal`` was given; None where a bit has changed or the end is missing."""
    digest, content = sealed[:DIGEST_BYTES], sealed[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None
