"""A small store's life, in this process: every command that writes into it, and what must hold afterwards whatever befell it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from benchmark import commands
from benchmark.cell import experiment
from benchmark.records.store import CellFolder
from benchmark.study import session
from datasets import prepared
from reports import ablation, leaderboard, tuning

SAME = ("model.safetensors", "cases.csv", "history.csv")
"""Of every cell, the files that must not depend on what happened."""

GRID = ["--labels", "1", "--protocol", "smoke[steps=4,validations=1]", "--launcher", "inline", "--device", "cpu", "--jobs", "1"]
LIFE = (
    ["run", "--methods", "supervised,mean_teacher[rsl=true]", *GRID],
    ["ablate", "--method", "supervised", "--factors", "learning_rate=1.0|2.0", *GRID],
    ["tune", "--methods", "supervised", "--trials", "2", *GRID],
)
DATA = ["--dataset", "acdc", "--tracking", "none"]


class Life:
    """Commands on one store. told: what they printed since ``live`` or ``look`` began."""

    def __init__(self, data: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self.store, self.monkeypatch, self.capsys = data, store, monkeypatch, capsys
        self.told = ""
        for module in (ablation, leaderboard):
            monkeypatch.setattr(module, "can_draw", lambda: False)  # figures take seconds, and go through the same writer
        monkeypatch.setattr(session, "register_all", lambda *arguments: None)  # which starts processes; cells do it themselves
        monkeypatch.setattr(tuning, "write", lambda records, folder: [])
        monkeypatch.setattr(os, "fsync", lambda file: None)

    def live(self) -> list[int]:
        """Every command that writes, once; their exit codes."""
        self.told = ""
        return [self._command(*arguments, *DATA, "--data", self.data) for arguments in LIFE]

    def look(self) -> str:
        """Every command that reads the whole store and is quick; what they said."""
        self.told, out = "", self.store.with_name("export")
        for arguments in (["ls", "cells"], ["export", "--out", out]):
            assert self._command(*arguments) in (0, 1, 2), self.told
        shutil.rmtree(out, ignore_errors=True)
        return self.told

    def _command(self, *arguments: object) -> int:
        """A command, as in a process of its own."""
        for cached in (prepared._raw, prepared._opened, prepared._read_through, prepared._whole, experiment.training_volumes):
            cached.cache_clear()
        self.monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments), "--store", str(self.store)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands.main()
        said = "".join(self.capsys.readouterr())
        assert "Traceback" not in said, said[-3000:]
        self.told += said
        return int(ended.value.code or 0)

    def forget_dead(self) -> None:
        """Leases name this process, which would have ended with its command and so given them up."""
        for lease in self.store.rglob(".lease"):
            lease.unlink()


def finished(store: Path) -> dict[str, dict[str, bytes]]:
    """Of every cell that is done, the files that must not depend on what happened."""
    folders = [CellFolder(path.parent) for path in store.glob("*/*/*/.done")]
    return {f.path.name: {name: (f.path / name).read_bytes() for name in SAME} for f in folders if f.done()}


def stamps(store: Path) -> dict[str, tuple[int, int]]:
    """Of every cell that is done, what changes when it runs again."""
    folders = [CellFolder(path.parent) for path in store.glob("*/*/*/.done")]
    return {f.path.name: ((about := (f.path / ".done").stat()).st_ino, about.st_mtime_ns) for f in folders if f.done()}
