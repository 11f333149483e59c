"""The rooms of the reports: imports go down from room to room and never round, and what needs no figure imports nothing that draws."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "reports").rglob("*.py")
}
BELOW = {
    "statistics": set(),
    "tables": {"statistics"},
    "figures": {"statistics", "tables"},
    "page": {"tables"},
    "preparation": {"tables", "figures"},
    "writing": {"tables", "figures", "page"},
}
"""The rooms that each room may import from, beside itself."""

RECORDS = ("benchmark.ground.", "benchmark.records.table", "benchmark.records.ablations")
"""All of the benchmark that a report may know."""


def imported(module):
    """Every module that one imports: at once, in a function, or for its types."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


def test_modules_import_only_from_rooms_below_and_never_round():
    room = {module: module.split(".")[1] for module in MODULES if module.count(".") == 2}
    assert set(room.values()) == set(BELOW) and len(room) == len(MODULES) - len(BELOW) - 1  # no file stands outside a room
    graph = {module: {name for name in imported(module) if name.startswith("reports")} for module in MODULES}
    assert graph["reports.writing.report"] > {"reports.figures.section", "reports.page.html"}
    wrong = [(a, b) for a in graph for b in graph[a] if room[b] not in BELOW[room[a]] | {room[a]}]
    assert not wrong
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises where there is a circle


def test_of_the_benchmark_only_ground_and_the_tables_of_records_are_imported():
    found = {name for module in MODULES for name in imported(module) if name.partition(".")[0] in ("benchmark", "methods")}
    assert "benchmark.records.table" in found
    assert not [name for name in found if not name.startswith(RECORDS)]


def test_tables_the_page_and_the_writers_of_tables_draw_nothing():
    chosen = [module for module in MODULES if module.split(".")[1:2] in (["statistics"], ["tables"], ["page"])]
    chosen += [f"reports.writing.{name}" for name in ("leaderboard", "ablation", "tuning")]
    code = f"import sys, {', '.join(chosen)}; print({{'matplotlib', 'seaborn', 'optuna', 'torch'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(chosen) > 15 and said == "set()\n"
