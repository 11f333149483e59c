"""What can happen to a store while commands work on it: processes are killed or paused, files damaged, and disks take nothing."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

LEASE = 4.0
KINDS = {
    **{name: f"acdc/*/*/{name}" for name in ("cell.json", "record.json", "cases.csv", "history.csv", "model.safetensors")},
    **{name: f"acdc/*/*/{name}" for name in ("best.safetensors", ".done", ".progress", "checkpoint")},
    "registration": "cache/registration/*/*.sealed",
    "ablation": "ablations/*",
    "tracking": "mlflow.db",
}
"""Every kind of file that a command leaves in a store, by a pattern."""
WAYS = ("cut", "emptied", "flipped", "exchanged", "a folder", "a link", "gone")


def workers(parent: int) -> list[int]:
    """Process ids of the workers of a process, which has a child that only keeps count of shared resources, too."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


class Chaos:
    """Faults by name; each says whether it found something to hit. The store's parent is a disk of its own, if one could be mounted."""

    def __init__(self, store: Path, seed: int) -> None:
        self.store, self.random = store, random.Random(seed)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.inflicted: Counter[str] = Counter()
        self.damaged: Counter[str] = Counter()
        """Kinds of files and ways of damage."""
        self.hit: Counter[str] = Counter()
        """Finished cells whose files were damaged."""
        self.timers: list[threading.Timer] = []
        self.disk_is_free = threading.Event()
        self.disk_is_free.set()

    def inflict(self) -> None:
        """One fault, drawn among those for which there is something to hit."""
        faults: dict[Callable[[], bool], float] = {
            self.damage: 6,
            self.kill_a_worker: 4,
            self.kill_a_command: 1.5,
            self.stop_a_command: 1,
            self.pause_a_worker: 1.5,
            self.leave_a_stale_lease: 2,
            self.fill_the_disk: 1.5,
            self.make_the_disk_read_only: 1.5,
        }
        fault = self.random.choices(list(faults), list(faults.values()))[0]
        if fault():
            self.inflicted[fault.__name__] += 1

    def _signal(self, pid: int, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    def _command(self) -> int | None:
        alive = [process.pid for process in self.processes if process.poll() is None]
        return self.random.choice(alive) if alive else None

    def _worker(self) -> int | None:
        found = [worker for process in self.processes for worker in workers(process.pid)]
        return self.random.choice(found) if found else None

    def kill_a_worker(self) -> bool:
        """As the kernel does where memory ends."""
        worker = self._worker()
        return worker is not None and self._signal(worker, signal.SIGKILL)

    def kill_a_command(self) -> bool:
        """As a power cut does."""
        command = self._command()
        return command is not None and self._signal(command, signal.SIGKILL)

    def stop_a_command(self) -> bool:
        """As a cluster does at the end of a job's time."""
        command = self._command()
        return command is not None and self._signal(command, signal.SIGTERM)

    def pause_a_worker(self) -> bool:
        """Longer than its lease: others may take its cell over, and it wakes up beside them."""
        worker = self._worker()
        if worker is None or not self._signal(worker, signal.SIGSTOP):
            return False
        self._later(LEASE + 2, lambda: self._signal(worker, signal.SIGCONT))
        return True

    def leave_a_stale_lease(self) -> bool:
        """As a machine leaves it that lost its power in the middle of a cell."""
        idle = [path.parent for path in self.store.glob("acdc/*/*/cell.json") if not (path.parent / ".lease").exists()]
        if not idle:
            return False
        token = self.random.randbytes(16).hex()
        lines = ["filelock/2", "pid=1", "host=elsewhere", "mode=lease", f"token={token}", f"duration={LEASE}", "start=1", ""]
        with contextlib.suppress(OSError):  # the disk may be full
            (self.random.choice(idle) / ".lease").write_text("\n".join(lines))
            return True
        return False

    def damage(self) -> bool:
        """A file of a kind that is drawn first, so that rare kinds are hit as often as others."""
        there = {kind: sorted(self.store.glob(pattern)) for kind, pattern in KINDS.items()}
        kinds = [kind for kind, files in there.items() if files]
        if not kinds:
            return False
        kind, way = self.random.choice(kinds), self.random.choice(WAYS)
        file = self.random.choice(there[kind])
        finished = (file.parent / ".done").is_file() and kind not in (".progress", "checkpoint")
        with contextlib.suppress(OSError):
            if not self._harm(file, way, self.random.choice(there[kind])):
                return False
            self.damaged[f"{kind} {way}"] += 1
            self.hit[file.parent.name] += finished
            return True
        return False

    def _harm(self, file: Path, way: str, other: Path) -> bool:
        content = bytearray(file.read_bytes())
        if way == "gone" or way.startswith("a "):
            file.unlink()
            if way == "a folder":
                file.mkdir()
            elif way == "a link":
                file.symlink_to("/etc/hostname")
            return True
        if way == "flipped" and content:
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        new = {
            "cut": content[: self.random.randrange(len(content) + 1)],
            "emptied": b"",
            "flipped": content,
            "exchanged": other.read_bytes(),
        }[way]
        if bytes(new) == file.read_bytes():
            return False
        with open(file, "r+b") as there:  # in place, as a disk does it: no writer of ours would
            there.truncate(0)
            there.write(new)
        return True

    def fill_the_disk(self) -> bool:
        """Until nothing more can be written, for some seconds."""
        if not self._takes_the_disk():
            return False
        ballast = self.store.parent / "ballast"
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        self._later(3.0, lambda: (ballast.unlink(missing_ok=True), self.disk_is_free.set()))
        return True

    def make_the_disk_read_only(self) -> bool:
        """For some seconds. It cannot be while somebody writes to it: tried until it is, for a short time."""
        if not self._takes_the_disk():
            return False
        for _ in range(50):
            if self._remount("ro"):
                self._later(3.0, lambda: (self._remount("rw"), self.disk_is_free.set()))
                return True
        self.disk_is_free.set()
        return False

    def _takes_the_disk(self) -> bool:
        """Whether there is a disk of its own that nothing has happened to yet; now something does."""
        if not os.path.ismount(self.store.parent) or not self.disk_is_free.is_set():
            return False
        self.disk_is_free.clear()
        return True

    def _remount(self, how: str) -> bool:
        mounted = subprocess.run(["mount", "-o", f"remount,{how}", str(self.store.parent)], capture_output=True, check=False)
        return mounted.returncode == 0

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.timers.append(threading.Timer(seconds, action))
        self.timers[-1].start()

    def settle(self) -> None:
        """Wait for what was to be undone."""
        for timer in self.timers:
            timer.join()

    def clear(self) -> None:
        """Remove folders that stand where files belong and nobody reads any more, as a person would."""
        for pattern in KINDS.values():
            for path in self.store.glob(f"{pattern}.damaged-*"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
