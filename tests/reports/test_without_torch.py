"""A report needs records alone: it is written in an environment that has no torch."""

import json
import os
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from benchmark.records.store import CellFolder
from tests.reports.made_up_records import cell, record, scores

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "functorch", "monai", "mlflow", "optuna", "safetensors", "nibabel", "h5py", "__editable__", "ssl_medseg")


def environment_without(folder: Path, absent: tuple[str, ...]) -> Path:
    """A virtual environment with links to all packages of this one but ``absent``; returns its interpreter."""
    venv.create(folder, with_pip=False)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for entry in (entry for path in site.getsitepackages() for entry in Path(path).iterdir()):
        if not entry.name.lower().startswith(absent) and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def test_the_report_command_works_where_torch_is_not(tmp_path: Path) -> None:
    python = environment_without(tmp_path / "env", ABSENT)
    gone = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "No module named 'torch'" in gone.stderr
    for variant in ("supervised", "cctr"):
        one = cell(variant)
        rows = scores(one, {f"case{i}": 0.5 + i / 20 for i in range(6)})
        header = "test_set,case,volume,class,network,selection,metric,value\n"
        lines = [",".join(str(row[name]) for name in header.strip().split(",")) for row in rows]
        about = json.dumps(record(**one))
        files: dict[str, bytes | str] = {"cases.csv": header + "\n".join(lines) + "\n", "record.json": about}
        CellFolder(tmp_path / "store" / "phantom" / variant / "id").finish(files)
    command = [python, "-m", "benchmark", "report", "--store", tmp_path / "store", "--out", tmp_path / "out"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"MPLBACKEND": "agg"}, timeout=200
    )
    assert result.returncode == 0, result.stderr
    assert "cctr" in result.stdout and (tmp_path / "out" / "index.html").stat().st_size > 50_000
    assert sys.executable != str(python)
