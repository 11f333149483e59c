"""Kinds of damage to a file, by name; what breaks disks and what colleagues do."""

import os
from collections.abc import Callable
from pathlib import Path

from benchmark.ground.files import seal

Damage = Callable[[Path], object]


def instead(make: Damage) -> Damage:
    """Something else in the place of a file."""

    def damage(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return damage


def flip(path: Path) -> None:
    """One bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


DAMAGE: dict[str, Damage] = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00" * 20),
    "no object": lambda path: path.write_bytes(b"[]"),
    "sealed nonsense": lambda path: path.write_bytes(seal(b"nonsense")),
    "folder": instead(lambda path: (path / "x").mkdir(parents=True)),
    "pipe": instead(os.mkfifo),
    "device": instead(lambda path: path.symlink_to("/dev/zero")),
    "link": instead(lambda path: path.symlink_to("/etc/hostname")),
    "dangling": instead(lambda path: path.symlink_to("gone")),
}
