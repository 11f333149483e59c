"""A disk that goes bad, as far as Python's writers can tell: it is full, or can only be read. Needs no rights.

Every operation that writes below a folder is counted; from a given one on, all fail. Other processes take part where SITE is on their
PYTHONPATH: ORDERS names a file that says how the disk is, and is read at every operation.
"""

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ORDERS = "CHAOS_DISK"
SITE = Path(__file__).parent / "site"
STATES = {"full": errno.ENOSPC, "read-only": errno.EROFS, "over quota": errno.EDQUOT}
NEEDS_NO_ROOM = ("unlink", "rmdir")
"""What a full disk still does."""


class Disk:
    """state: one of STATES, from the operation numbered ``after`` on; or asked for at each operation."""

    def __init__(self, folder: Path, state: Callable[[], str], after: int = 0) -> None:
        self.folder, self.state, self.after = os.path.realpath(folder), state, after
        self.count = 0
        self.really: dict[str, Any] = {"open": builtins.open}

    def check(self, path: Any, what: str) -> None:
        """Count an operation, and fail it where the disk does."""
        if isinstance(path, int) or not os.path.abspath(os.fsdecode(path)).startswith(f"{self.folder}/"):
            return
        number = STATES.get(self.state())
        if number is None or (number != errno.EROFS and what in NEEDS_NO_ROOM):
            return
        self.count += 1
        if self.count > self.after:
            raise OSError(number, os.strerror(number), os.fsdecode(path))

    def open(self, file: Any, mode: str = "r", buffering: int = -1, *text: Any, **more: Any) -> Any:
        """As the built-in."""
        if isinstance(file, int) or not set("wax+") & set(mode):
            return self.really["open"](file, mode, buffering, *text, **more)
        self.check(file, "open")
        raw = _File(self, file, mode.replace("b", "").replace("t", ""), opener=more.pop("opener", None))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **more)

    def install(self) -> None:
        """Have all writers of this process use it from now on."""
        for name in ("mkdir", "replace", "rename", "unlink", "rmdir", "mkfifo", "symlink"):
            self.really[name] = getattr(os, name)
            setattr(os, name, self._checked(name))
        self.really["os.open"], os.open = os.open, self._os_open  # type: ignore[assignment]
        builtins.open = io.open = self.open  # type: ignore[assignment]

    @contextlib.contextmanager
    def used(self) -> Iterator["Disk"]:
        """Have all writers of this process use it for a while."""
        self.install()
        try:
            yield self
        finally:
            builtins.open = io.open = self.really["open"]
            os.open = self.really["os.open"]
            for name in set(self.really) - {"open", "os.open"}:
                setattr(os, name, self.really[name])

    def _checked(self, name: str) -> Callable[..., Any]:
        def checked(path: Any, *more: Any, **options: Any) -> Any:
            if options.get("dir_fd") is None:
                self.check(path, name)
            return self.really[name](path, *more, **options)

        return checked

    def _os_open(self, path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.check(path, "open")
        return self.really["os.open"](path, flags, *more, **options)


class _File(io.FileIO):
    """A file whose writes are operations, too."""

    def __init__(self, disk: Disk, file: Any, mode: str, **options: Any) -> None:
        self.disk = disk
        super().__init__(file, mode, **options)

    def write(self, content: Any) -> int:
        """As much as the disk takes."""
        self.disk.check(self.name, "write")
        return super().write(content)


def follow_orders() -> None:
    """Have this process use the disk that the environment names for as long as it lives."""
    orders = os.environ.get(ORDERS)
    if orders:
        folder, file = orders.split(os.pathsep)
        disk = Disk(Path(folder), lambda: _order(disk, file))
        disk.install()


def _order(disk: Disk, file: str) -> str:
    try:
        with disk.really["open"](file) as text:
            return text.read()
    except OSError:
        return ""
