"""What needs no figure imports nothing that draws. (Which room of the reports may import which: import-linter, in pyproject.toml.)"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("statistics", "tables", "page")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ROOMS
    for path in sorted((ROOT / "reports" / room).rglob("*.py"))
]


def test_tables_the_page_and_the_writers_of_tables_draw_nothing():
    chosen = [*MODULES, *(f"reports.writing.{name}" for name in ("leaderboard", "ablation", "tuning"))]
    code = f"import sys, {', '.join(chosen)}; print({{'matplotlib', 'seaborn', 'optuna', 'torch'}} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(chosen) > 15 and said == "set()\n"
