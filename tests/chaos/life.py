"""A small store's life, in this process: every command that writes into it, and what must hold afterwards whatever befell it."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import commands
from benchmark.cell import experiment
from benchmark.records.store import CellFolder
from datasets import prepared
from reports import ablation, leaderboard

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
    """Commands on one store. told: everything that they printed."""

    def __init__(self, data: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self.store, self.monkeypatch, self.capsys = data, store, monkeypatch, capsys
        self.told = ""
        for module in (ablation, leaderboard):
            monkeypatch.setattr(module, "can_draw", lambda: False)  # figures take seconds, and go through the same writer
        monkeypatch.setattr(os, "fsync", lambda file: None)

    def live(self) -> list[int]:
        """Every command once, each as in a process of its own; their exit codes."""
        return [self._command(arguments) for arguments in LIFE]

    def _command(self, arguments: list[str]) -> int:
        for cached in (prepared._raw, prepared._opened, prepared._read_through, prepared._whole, experiment.training_volumes):
            cached.cache_clear()
        line = [*arguments, *DATA, "--data", str(self.data), "--store", str(self.store)]
        self.monkeypatch.setattr(sys, "argv", ["benchmark", *line])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            commands.main()
        self.told = "".join(self.capsys.readouterr())
        assert "Traceback" not in self.told, self.told[-3000:]
        self.all_told += self.told
        return int(ended.value.code or 0)

    all_told = ""

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
