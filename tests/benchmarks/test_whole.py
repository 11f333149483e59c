"""The whole job: importing, preparing, registering, training, evaluating, reporting; wall time and peak memory of each stage."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.ratios import Ledger, Ratio, interleaved, machine_seconds

ROOT = Path(__file__).parents[2]

STAGE = """
import sys, time
from pathlib import Path
from benchmark.ground.environment import make_deterministic, peak_memory_mb, reset_peak_memory
stage, store = sys.argv[1], Path(sys.argv[2])
began = time.perf_counter()
{body}
print(time.perf_counter() - began, peak_memory_mb("cpu"))
"""

STAGES = {
    "`--help`": "import benchmark.commands",
    "import torch": "import torch",
    "prepare the phantom": """
from datasets.preparing import prepare
prepare("phantom", None, store / "datasets")""",
    "register 3 labelled cases to 8 volumes": """
import torch
from benchmark.cell.experiment import training_volumes
from datasets.preparing import prepare
from datasets.registration import Recipe, candidates
make_deterministic()
dataset = prepare("phantom", None, store / "datasets")
volumes = training_volumes(dataset, dataset.split.train[:3])
labelled = [v for v in volumes if v.label is not None]
for volume in [v for v in volumes if v.label is None][:8]:
    candidates(labelled, volume, Recipe(), store / "registrations", torch.device("cpu"))""",
    "40 steps of cctr at `quick`": """
from tests.benchmarks.scenes import build, phantom_task
from benchmark.records.store import CellFolder
from benchmark.cell.training import fit
task = phantom_task(steps=40)
fit(build(task, "cctr"), 0, CellFolder(store / "cell"), None, lambda p: None, bool)""",
    "test 10 cases with cctr": """
from benchmark.cell.evaluation import evaluate
from tests.benchmarks.scenes import CPU, build, phantom, phantom_task, scored_volumes
task = phantom_task()
evaluate(build(task, "cctr"), scored_volumes(phantom()), phantom().classes, task.protocol, CPU, {})""",
    "report on 100 cells": """
from benchmark.commands import app
from tests.benchmarks.test_report import write_store
write_store(store / "runs", methods=5, budgets=(1, 3, 7, 14), runs=5)
app(["report", "--store", str(store / "runs"), "--out", str(store / "report")], standalone_mode=False)""",
}


def python(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def import_cost(rounds: int) -> Ratio:
    """Importing the command line, as ``--help`` and ``ls`` do, against importing the libraries it cannot do without."""
    needed = "import typer, rich.console, rich.table"
    ours, libraries = interleaved(lambda: python("import benchmark.commands"), lambda: python(needed), rounds, machine_seconds)
    return Ratio("import of the command line", f"import benchmark.commands / {needed}", ours / libraries, "lower")


def test_import(ledger: Ledger) -> None:
    ledger.add(import_cost(rounds=15))


def test_stages(ledger: Ledger, tmp_path: Path) -> None:
    """Each stage in a process of its own; shares of all stages' seconds, and peak memory above what importing torch takes."""
    found = {}
    for stage, body in STAGES.items():
        seconds, peak = python(STAGE.format(body=body), stage, str(tmp_path)).split()[-2:]
        found[stage] = (float(seconds), float(peak))
    total = sum(seconds for seconds, _ in found.values())
    rows = [[stage, f"{100 * s / total:.1f} %", f"{p:.0f}"] for stage, (s, p) in found.items()]
    ledger.table("Stages: share of their time, and peak memory", ["stage", "share", "MB"], *rows)


def test_main_command(ledger: Ledger, tmp_path: Path) -> None:
    """The main command at `smoke`, and again when all is done."""
    command = [sys.executable, "-m", "benchmark", "run", "--methods", "cctr,cps", "--labels", "1,3,7", "--protocol", "smoke"]
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        options = ["--jobs", "1", "--tracking", "none", "--store", str(tmp_path)]
        subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    ledger.table(
        "The main command at `smoke`, one job: wall time",
        ["which", "s"],
        *zip(("first", "again"), map(round, seconds), strict=True),
    )
    compared = "wall time: the same command when all is done / the first time, at `smoke`"
    ledger.add(Ratio("main command, repeated", compared, seconds[1] / seconds[0], "lower"))
