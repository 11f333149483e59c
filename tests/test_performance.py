"""CI's guard: a few ratios, each measured in a second or two, against those stored in docs/performance.json.

Only ratios within one run, on the process's own clock, best of interleaved turns, measured up to three times before a
test fails: what else the machine does meanwhile does not count. Ours and the reference do work of one kind, for processors and
their caches differ in what they are good at. Skipped on another processor, where other ratios are right.
The guard itself is tried on work with planted slow-downs.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmarks import page, test_evaluation
from tests.benchmarks.ratios import ALLOWED, Ratio, interleaved, worse_than_stored
from tests.benchmarks.scenes import harness_overhead
from tests.benchmarks.test_whole import import_cost

GUARDED: dict[str, Callable[[], Ratio]] = {
    "harness overhead: supervised": lambda: harness_overhead("supervised", steps=24),
    "harness overhead: mean_teacher": lambda: harness_overhead("mean_teacher", steps=16),
    "metrics overhead: a heart, nearly right": lambda: test_evaluation.metrics_overhead("a heart, nearly right", rounds=8),
    "import of the command line": lambda: import_cost(rounds=5),
}


@pytest.mark.parametrize("name", GUARDED)
def test_no_ratio_is_a_quarter_worse_than_stored(name: str) -> None:
    known = page.load()
    there, here = (machine["processor"] for machine in (known["machine"], page.machine()))
    if there != here:
        pytest.skip(f"the stored ratios are of {there}; `make performance` stores those of {here}")
    stored = {ratio.name: ratio.value for ratio in page.ratios_of(known)}[name]
    worse = worse_than_stored(GUARDED[name], stored)
    assert worse is None, f"{worse} is {worse.worsening(stored):.2f} times worse than the stored {stored}"


class Machine:
    """Its clock counts units of work, and every third piece takes twice as long, as on a machine with other things to do."""

    def __init__(self) -> None:
        self.pieces, self.now = 0, 0.0

    def work(self, units: float) -> Callable[[], None]:
        def do() -> None:
            self.pieces += 1
            self.now += units * (2 if self.pieces % 3 == 0 else 1)

        return do


@pytest.mark.parametrize(("slow_down", "fails"), [(1.0, False), (1.1, False), (1.3, True)])
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_guard_sees_a_planted_slow_down(slow_down: float, fails: bool, better: str) -> None:
    """Of 30 %, and lets 10 % pass; whichever way the ratio is written."""
    machine = Machine()

    def measure() -> Ratio:
        ours, reference = interleaved(machine.work(slow_down), machine.work(1), rounds=6, clock=lambda: machine.now)
        return Ratio("planted", "", ours / reference if better == "lower" else reference / ours, better)

    assert bool(worse_than_stored(measure, stored=1.0)) is fails


def test_a_planted_slow_down_of_the_metrics_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the processor's clock: with every volume measured twice, the ratio is twice what it was a moment ago, on whatever processor."""
    monkeypatch.setattr(test_evaluation, "SO_MANY", 3)

    def measure() -> Ratio:
        return test_evaluation.metrics_overhead("a heart, nearly right", rounds=3)

    before, once = measure(), test_evaluation.volume_metrics
    monkeypatch.setattr(test_evaluation, "volume_metrics", lambda *given: once(*given) and once(*given))
    assert worse_than_stored(measure, before.value) is not None


def test_a_bad_measurement_is_repeated() -> None:
    values = iter([3.0, 1.0 * ALLOWED, 3.0, 2.5, 2.0])
    measure = lambda: Ratio("noisy", "", next(values), "lower")  # noqa: E731
    assert worse_than_stored(measure, 1.0) is None
    found = worse_than_stored(measure, 1.0)
    assert found is not None and found.value == 2.0


def test_the_page_is_that_of_the_stored_ratios() -> None:
    assert page.PAGE.read_text() == page.page(page.load()), "run `make performance`"


def test_results_of_another_machine_are_not_mixed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "machine", lambda: {"processor": "here"})
    old = {"compared": "", "value": 2.0, "better": "lower", "target": None}
    new = [Ratio("new", "a / b", 1.0, "lower", 1.05)]
    for place, kept in (("here", {"old", "new"}), ("elsewhere", {"new"})):
        known = page.merged({"machine": {"processor": place}, "ratios": {"old": old}, "tables": {}}, new, {})
        assert {ratio.name for ratio in page.ratios_of(known)} == kept
    rows = page.ratio_rows(page.ratios_of(known))
    assert rows[1] == ["new", "a / b", "1", "≤ 1.05", "yes"]


def test_targets_hold_in_their_own_direction() -> None:
    assert Ratio("", "", 1.04, "lower", 1.05).met and not Ratio("", "", 1.06, "lower", 1.05).met
    assert Ratio("", "", 12, "higher", 10).met and not Ratio("", "", 9, "higher", 10).met
    assert Ratio("", "", 9, "higher").met is None
