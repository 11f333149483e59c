"""Look the locked versions up among known vulnerabilities with pip-audit; `make lint` calls it.

Where no registry answers, one line says so and nothing fails. An answer counts for a day, or until the lock changes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
STAMP = Path(sys.prefix) / "audited"
SECONDS = 20
DAY = 24 * 3600
AUDIT = (
    sys.executable,
    "-m",
    "pip_audit",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner=off",
    "--timeout=5",
    "--format=json",
)


def answered_lately() -> bool:
    """Whether a registry knew of nothing in this lock within a day."""
    if not STAMP.exists():
        return False
    at = STAMP.stat().st_mtime
    return LOCK.stat().st_mtime < at and time.time() - at < DAY


def ask() -> list[dict[str, Any]] | None:
    """What pip-audit says of each package; None where it had no answer in SECONDS."""
    try:
        asked = subprocess.run([*AUDIT, "-r", str(LOCK)], capture_output=True, timeout=SECONDS, check=False)
        found: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


def audit() -> int:
    """Ask, and say what was found; the exit code, 1 where a package is vulnerable."""
    if answered_lately():
        return 0
    packages = ask() or []
    known = [package for package in packages if "vulns" in package]
    if not known:  # a mirror without such knowledge has nothing against anything
        print("audit: skipped, for no registry that knows of vulnerabilities answers")
        return 0
    for package in known:
        for vulnerability in package["vulns"]:
            versions = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"audit: {package['name']} {package['version']} has {vulnerability['id']}; mended by {versions}")
    if any(package["vulns"] for package in known):
        return 1
    print(f"audit: nothing is known of {len(known)} of {len(packages)} packages in {LOCK.name}")
    STAMP.touch()
    return 0


if __name__ == "__main__":
    sys.exit(audit())
