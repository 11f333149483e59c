"""What `make lint` makes of the answers of registries, all made up: nothing is asked."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]}
UNKNOWN = {"name": "torch", "skip_reason": "not found"}


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh tools/audit.py that has never asked."""
    spec = importlib.util.spec_from_file_location("audit", Path(__file__).parents[1] / "tools" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMP", tmp_path / "audited")
    monkeypatch.setattr(module, "LOCK", tmp_path / "requirements.lock")
    module.LOCK.write_text("numpy==2.4.6\n")
    os.utime(module.LOCK, (0, 0))
    return module


def answer(monkeypatch: pytest.MonkeyPatch, *packages: dict[str, Any] | str) -> list[Any]:
    """Have pip-audit say this; returns the calls."""
    calls = []

    def run(command: Any, **options: Any) -> Any:
        calls.append(command)
        if packages == ("late",):
            raise subprocess.TimeoutExpired(command, options["timeout"])
        out = b"" if packages == ("nothing",) else json.dumps({"dependencies": packages}).encode()
        return subprocess.CompletedProcess(command, 1, out, b"")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


@pytest.mark.parametrize("packages", [("late",), ("nothing",), (UNKNOWN, UNKNOWN)])
def test_without_an_answer_one_line_says_so_and_it_is_asked_again(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], packages: Any
) -> None:
    calls = answer(monkeypatch, *packages)
    assert audit.audit() == audit.audit() == 0 and len(calls) == 2
    told = capsys.readouterr().out
    assert told.count("\n") == 2 and told.count("audit: skipped") == 2


def test_a_vulnerable_package_fails_and_is_named(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = answer(monkeypatch, CLEAN, VULNERABLE, UNKNOWN)
    assert audit.audit() == audit.audit() == 1 and len(calls) == 2
    assert "audit: pillow 1.0 has PYSEC-1; mended by 1.1, 2.0" in capsys.readouterr().out


def test_a_clean_answer_counts_for_a_day_or_until_the_lock_changes(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = answer(monkeypatch, CLEAN, UNKNOWN)
    assert audit.audit() == audit.audit() == 0 and len(calls) == 1
    assert "nothing is known of 1 of 2 packages" in capsys.readouterr().out
    yesterday = audit.STAMP.stat().st_mtime - audit.DAY
    os.utime(audit.STAMP, (yesterday, yesterday))
    assert audit.audit() == 0 and len(calls) == 2
    now = audit.STAMP.stat().st_mtime
    os.utime(audit.LOCK, (now + 1, now + 1))
    assert audit.audit() == 0 and len(calls) == 3
