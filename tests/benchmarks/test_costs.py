"""What methods cost beside a lone U-Net: the table that plans go by, and how far plans are from what is measured."""

import functools
import json
import subprocess
import sys

import pytest

from benchmark.cell import costs
from benchmark.cell.training import step_seconds
from benchmark.conformance.task import made_up_task
from benchmark.ground.environment import make_deterministic
from benchmark.ground.protocol import Protocol
from benchmark.ground.rules import get_protocol
from methods.method import Method, Task
from tests.benchmarks.ratios import Ledger
from tests.benchmarks.scenes import METHODS, build

LARGER = 4
"""Times the batch where memory is measured: a process moves by tens of megabytes of its own accord."""


@functools.cache
def task(larger: int = 1) -> Task:
    """A made-up task with registrations, at the rules of the table."""
    make_deterministic()
    rules = get_protocol(costs.REFERENCE)
    changes = {name: getattr(rules, name) for name in Protocol.model_fields}
    changes |= {name: larger * getattr(rules, name) for name in ("batch_labelled", "batch_unlabelled")}
    return made_up_task(side=rules.image_size, **changes)


def seconds(name: str) -> float:
    """Of a step, in those of a lone U-Net; the best of three."""
    costs.unit_seconds.cache_clear()
    unit = costs.unit_seconds(get_protocol(costs.REFERENCE), "cpu")
    return min(step_seconds(build(task(), name), task().protocol, 0, 2) for _ in range(3)) / unit


def peak(name: str) -> float:
    """Bytes that a process holds at most which trains with a larger batch, beyond what it is without a cell."""
    lines = [
        "from pathlib import Path",
        "from tests.benchmarks.scenes import build",
        "from tests.benchmarks.test_costs import LARGER, step_seconds, task",
        f"step_seconds(build(task(LARGER), {name!r}), task(LARGER).protocol, 0, 2)",
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return 1024 * float(done.stdout) - costs.PROCESS_BYTES


def measured() -> dict[str, dict[str, float]]:
    """The table, method by method."""
    kept = costs.work(task(LARGER).protocol, 1, 4).kept
    return {
        name: {"seconds": round(seconds(name), 2), "memory": round(max(0.2, peak(name) / kept), 2)} for name in sorted(METHODS)
    }


def test_what_methods_cost(ledger: Ledger, pytestconfig: pytest.Config) -> None:
    found = measured()
    rows = [["method", "seconds of a step, in a U-Net's", "memory, in what a U-Net keeps"]]
    ledger.tables["What methods cost"] = rows + [[name, *map(str, entry.values())] for name, entry in found.items()]
    assert found.keys() == set(METHODS) and all(entry["seconds"] > 0.3 for entry in found.values())
    if pytestconfig.getoption("--write-performance"):
        costs.TABLE.write_text(json.dumps(found, indent=1) + "\n")


@pytest.mark.parametrize("changes", ["", "[unet_widths=[16,32,64,128,256]]"])
def test_plans_are_near_what_longer_rules_take(changes: str) -> None:
    """At `desk`, whose images are larger and networks deeper, and with the field's full-size U-Net: within a factor of 2."""
    rules = get_protocol(f"desk{changes}")
    for name in ("supervised", "mean_teacher", "cps"):
        fields = {field: getattr(rules, field) for field in Protocol.model_fields}
        method: Method = build(made_up_task(side=rules.image_size, **fields), name)
        took = step_seconds(method, rules, 0, 3)
        planned = costs.table()[name]["seconds"] * costs.batch_seconds(rules, "cpu")
        assert 0.5 < planned / took < 2, (name, planned, took)
