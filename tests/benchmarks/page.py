"""docs/performance.json, where ratios and tables are stored, and docs/performance.md and the terminal, where they are read."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark.ground.environment import processor
from tests.benchmarks.ratios import Ratio

DOCS = Path(__file__).parents[2] / "docs"
STORED = DOCS / "performance.json"
PAGE = DOCS / "performance.md"
NOTES = Path(__file__).with_name("notes.md")
PACKAGES = ("torch", "numpy", "scipy", "monai", "SimpleITK", "antspyx")

Known = dict[str, Any]
"""machine: what measured. ratios: by name. tables: by title, a list of rows, the first one is the head."""


def machine() -> dict[str, str]:
    """What measures: processor, its instructions (virtual machines hide its name), cores, GPU, versions."""
    import torch

    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())}
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not there"
    return {
        "processor": processor(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "matrix instructions": "AMX" if "amx_bf16" in about.get("flags", "").split() else "none",
        "cores": str(os.cpu_count()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
    }


def load() -> Known:
    """What is stored; nothing where there is no file."""
    return json.loads(STORED.read_text()) if STORED.exists() else {"machine": {}, "ratios": {}, "tables": {}}


def merged(stored: Known, ratios: list[Ratio], tables: dict[str, list[list[str]]]) -> Known:
    """What is stored with what was measured now. Results of another machine or other versions are dropped: ratios compare in one place."""
    here = machine()
    if stored["machine"] != here:
        stored = {"machine": here, "ratios": {}, "tables": {}}
    new = {
        ratio.name: {k: v for k, v in asdict(ratio).items() if k != "name"} | {"value": round(ratio.value, 4)}
        for ratio in ratios
    }
    return {"machine": here, "ratios": stored["ratios"] | new, "tables": stored["tables"] | tables}


def ratios_of(known: Known) -> list[Ratio]:
    """The stored ratios."""
    return [Ratio(name, **entry) for name, entry in known["ratios"].items()]


def ratio_rows(ratios: list[Ratio]) -> list[list[str]]:
    """A table of ratios, the head first."""
    rows = [["what", "compared", "ratio", "target", "met"]]
    for ratio in ratios:
        sign = "≤" if ratio.better == "lower" else "≥"
        target = "" if ratio.target is None else f"{sign} {ratio.target:g}"
        met = {True: "yes", False: "no", None: ""}[ratio.met]
        rows.append(
            [ratio.name, ratio.compared, f"{ratio.value:.3g}" if ratio.value < 100 else f"{ratio.value:.0f}", target, met]
        )
    return rows


def aligned(rows: list[list[str]]) -> str:
    """A table for the terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(rows: list[list[str]]) -> str:
    """A table of the page."""
    head, *body = rows
    lines = [head, [":---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(known: Known) -> str:
    """docs/performance.md, from what is stored and the notes beside the benchmarks."""
    intro, notes = NOTES.read_text().split("<!-- results -->\n")
    parts = [intro.strip(), "## The machine", markdown([["what", "which"], *([k, v] for k, v in known["machine"].items())])]
    parts += ["## Ratios", markdown(ratio_rows(ratios_of(known)))]
    for title, rows in known["tables"].items():
        parts += [f"## {title}", markdown(rows)]
    return "\n\n".join([*parts, notes.strip()]) + "\n"


def write(known: Known) -> None:
    """Store and regenerate the page."""
    STORED.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(known))
