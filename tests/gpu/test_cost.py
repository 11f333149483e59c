"""What a training step costs: seconds and peak memory of every method, at the paper's sizes on a GPU; kept as CSV and printed."""

import contextlib
from pathlib import Path

import pandas as pd
import pytest

from tests.gpu.devices import GPU, TRAINED, cost_of, keep


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("device", ["cpu", GPU])
def test_cost_of_a_step(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol, steps, names = ("paper", 10, TRAINED) if device == "cuda" else ("smoke", 1, ["supervised", "cctr"])
    table = pd.DataFrame([cost_of(name, device, protocol, steps) for name in names])
    file = keep(table, "steps", device, tmp_path)
    with capsys.disabled() if device == "cuda" else contextlib.nullcontext():
        print(f"\n{table.to_string(index=False)}\nwrote {file}")
    assert (table["seconds_a_step"] > 0).all() and (table["peak_memory_mb"] > 0).all()
    seconds = table.set_index("method")["seconds_a_step"]
    assert seconds["supervised"] < seconds["cctr"]
    assert list(pd.read_csv(file)["method"]) == names
