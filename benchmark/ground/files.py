"""Files that are whole or not there, and that tell when they are no longer what was written."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from benchmark.ground.errors import DiskFull

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
DIGEST_BYTES = 32
LONGEST_NAME = 120
SUM, MOST_OF_A_SUM = ".sha256", 1000


def checksum(content: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()


def file_checksum(file: Path) -> str:
    """SHA-256 of a file, in hex, of any size."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def file_state(file: Path | str) -> tuple[int, ...]:
    """What is different once a file has been written again, or copied; nothing where there is no plain file."""
    try:
        about = os.lstat(file)
    except OSError:
        return ()
    return (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns) if stat.S_ISREG(about.st_mode) else ()


def note_sum(file: Path) -> None:
    """Write the file's checksum and ``file_state`` beside it, for ``is_whole``.

    Raises:
        OSError: it cannot be read.
        DiskFull: nothing can be written.
    """
    state = file_state(file)
    said = " ".join([file_checksum(file), *map(str, state)])
    write_atomically(file.with_suffix(SUM), f"{said} {checksum(said.encode())}".encode())


def is_whole(file: Path) -> bool:
    """Whether a file is as it was when its sum was noted: it was not touched since, or, as where it was copied, its bytes are the same.
    Where a link leads to it, its note is beside the file.
    """
    try:
        file = Path(os.path.realpath(file))
        noted, state = _noted(file)
        if state and state == file_state(file):
            return True
        if noted != file_checksum(file):
            return False
    except (OSError, ValueError):
        return False
    with suppress(OSError, DiskFull):  # another's cache, which can only be read
        note_sum(file)
    return True


def _noted(file: Path) -> tuple[str, tuple[int, ...]]:
    """The checksum and the state that were noted; of notes of earlier versions, which are a checksum alone, no state.

    Raises:
        OSError: there is no note.
        ValueError: it is not as it was written.
    """
    *said, last = read_plain(file.with_suffix(SUM), MOST_OF_A_SUM).decode().split()
    if not said:
        return last, ()
    if checksum(" ".join(said).encode()) != last:
        raise ValueError(f"the note of {file} is damaged")
    return said[0], tuple(map(int, said[1:]))


def safe_name(text: str) -> str:
    """A file's name from text that may hold anything, without a suffix; what is long ends in a digest instead."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    return name if len(name.encode()) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 4]}-{checksum(text.encode())[:12]}"


@contextmanager
def disk_full_is_told(folder: Path | None = None) -> Iterator[None]:
    """Turn the operating system's word for a disk that takes nothing more into DiskFull, which names the folder and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = folder or error.filename or "the store"
        if error.errno == errno.EROFS:
            found = f"the disk of {where} can only be read; mount it to be written, or name another folder,"
        else:
            found = f"no space is left on the disk (or in the quota) of {where}; free some"
        raise DiskFull(f"{found} and repeat the command: it continues, nothing is lost") from error


def set_aside(path: Path, reason: str) -> None:
    """Rename what is damaged to ``<name>.damaged-<time>``, and say so on stderr: it can be looked at, and is made again."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:4]}")
    os.replace(path, aside)
    print(f"warning: {path} {reason}; it is now {aside.name}, and made again", file=sys.stderr, flush=True)


def make_way(file: Path) -> None:
    """Set aside a folder, a link, or whatever else stands in the place of a file."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(file.lstat().st_mode):
            set_aside(file, "is a folder, link or device, expected a file")


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold the lock file, for which others wait; whatever stands in its place is set aside."""
    from filelock import FileLock  # a tenth of the time that `--help` may take

    make_way(lock)
    with FileLock(lock):
        yield


def read_plain(path: Path, most: int | None = None) -> bytes:
    """The content of a file, or its first ``most`` bytes; neither a link is followed nor is anything waited for.

    Raises:
        OSError: it is not there, is no plain file (a folder, link, pipe, device), or cannot be read.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        return file.read() if most is None else file.read(most)


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Write so that ``path`` is either the old file or the whole new one, also after a crash (not after one of the machine unless durable).

    Raises:
        DiskFull: the old file is still there then.
    """
    with written_atomically(path, durable) as file:
        file.write(content)


@contextmanager
def written_atomically(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """As ``write_atomically``, for what is written piece by piece."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # process numbers repeat on other machines and in containers
    with disk_full_is_told(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            make_way(path)
            os.replace(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                error.filename, error.filename2 = str(path), None  # what the user knows of
            raise


def write_text(path: Path, text: str) -> None:
    """Write a report's text, as ``write_atomically``; it can be made again, so that the disk's own time to keep it is good enough."""
    write_atomically(path, text.encode(), durable=False)


def seal(content: bytes) -> bytes:
    """The content after its SHA-256 (32 bytes)."""
    return hashlib.sha256(content).digest() + content


def unseal(sealed: bytes) -> bytes | None:
    """What ``seal`` was given; None where a bit has changed or the end is missing."""
    digest, content = sealed[:DIGEST_BYTES], sealed[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None
