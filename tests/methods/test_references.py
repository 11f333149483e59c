"""References are whole, and where ours departs from them the method's own docstring says so."""

import importlib
import math
import re
from pathlib import Path

import pytest

from benchmark.ground import registry
from tests.methods.recorded import FOLDER, recorded

NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_says_what_was_run_and_found(name: str) -> None:
    found = recorded(name)
    assert found["method"] == name and found["records"]
    assert (found["repository"] is None and found["note"]) or re.fullmatch(r"[0-9a-f]{12,}", found["revision"])
    for record in found["records"]:
        assert record["place"] and math.isfinite(record["inputs_sum"]) and record["official"], record["what"]
    assert len({record["what"] for record in found["records"]}) == len(found["records"])


@pytest.mark.parametrize("name", [n for n in NAMES if any(r["deviation"] for r in recorded(n)["records"])])
def test_a_deviation_and_its_factor_stand_in_the_docstring(name: str) -> None:
    text = importlib.import_module(registry.built_ins("methods")[name].module).__doc__ or ""
    assert "\n\nDeviations: " in text
    told = text.split("\n\nDeviations: ")[1]
    for record in recorded(name)["records"]:
        for key, factor in (record["deviation"] or {}).get("factor", {}).items():
            assert f"{factor:.3g}".lstrip("0") in told, f"{record['what']}: {key} {factor:.3g}"


def test_every_reference_is_compared() -> None:
    """Each file and each record is named by a test of this folder."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_recorded_*.py"))
    for name in NAMES:
        assert f'"{name}"' in tests, name


def test_every_method_that_trains_has_a_reference() -> None:
    assert set(registry.built_ins("methods")) - {"label_propagation"} <= set(NAMES)
