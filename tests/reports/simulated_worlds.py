"""Worlds with a known truth: how often the report is right. Run as a module it prints docs/statistics.md."""

import itertools
from dataclasses import dataclass

import numpy as np

from reports.statistics.multiplicity import holm
from reports.statistics.random_effects import by_unit, combination, pair, run_spread, units_of
from tests.reports import simulated_standings

LEVEL = 70.0


@dataclass(frozen=True)
class World:
    """Equal methods on the same runs and cases; spreads in DSC points. Method 1 of them is better by ``effect``.

    run: what a run adds to all methods alike. seed: to a method in a run; of every other method ``uneven`` times that.
    seeds: of a draw; with several, what the draw adds to a method has spread ``seed``, and what the seed adds half of it.
    """

    methods: int = 18
    cases: int = 20
    runs: int = 3
    seeds: int = 1
    seed: float = 2.0
    run: float = 2.0
    effect: float = 0.0
    uneven: float = 1.0
    case: float = 8.0
    method_case: float = 2.0
    rest: float = 3.0

    def scores(self, rng: np.random.Generator) -> np.ndarray:
        """(methods, runs, cases), the seeds of a draw one after the other."""
        size = (self.methods, self.runs, self.cases)
        spread = self.seed * np.where(np.arange(self.methods) % 2, self.uneven, 1.0)[:, None, None]
        of_run = rng.normal(0, self.run, (1, self.runs, 1)) + spread * rng.normal(0, 1, (self.methods, self.runs, 1))
        if self.seeds > 1:
            of_run = np.repeat(of_run, self.seeds, axis=1)
            of_run = of_run + spread / 2 * rng.normal(0, 1, of_run.shape)
            size = (self.methods, self.runs * self.seeds, self.cases)
        of_case = rng.normal(0, self.case, self.cases) + rng.normal(0, self.method_case, (self.methods, 1, self.cases))
        planted = self.effect * (np.arange(self.methods) == 1)
        return LEVEL + planted[:, None, None] + of_run + of_case + rng.normal(0, self.rest, size)


@dataclass(frozen=True)
class Rates:
    """Shares of repeats: some false verdict among all comparisons with method 0; coverage of the means' and the differences'
    intervals; the planted effect found.
    """

    false: float
    mean: float
    difference: float
    found: float


def rates(world: World, repeats: int, seed: int = 0) -> Rates:
    """What comes out of a world's tests and intervals."""
    rng = np.random.default_rng(seed)
    runs = list(itertools.product(range(world.runs), range(world.seeds)))
    truth = world.effect * (np.arange(1, world.methods) == 1)
    false, means, differences, found = [], [], [], []
    for _ in range(repeats):
        scores = by_unit(world.scores(rng), units_of(runs))
        spread = run_spread(scores.mean(2))
        shifts = [combination(scores, pair(world.methods, i, 0), spread) for i in range(1, world.methods)]
        rejected = holm(np.array([shift.p for shift in shifts])) < 0.05
        false.append(rejected[truth == 0].any())
        found.append(rejected[0])
        differences.append(np.mean([_holds(shift, true) for shift, true in zip(shifts, truth, strict=True)]))
        means.append(_holds(combination(scores, np.eye(world.methods)[0], spread), LEVEL))
    return Rates(*(float(np.mean(values)) for values in (false, means, differences, found)))


def _holds(found, truth):
    low, high = found.interval()
    return low <= truth <= high


def page() -> str:
    """docs/statistics.md."""
    grid = itertools.product((2, 18), (10, 20), (1, 3, 5), (0, 1, 2, 3))
    lines = [INTRODUCTION, HEADER]
    lines += [
        _line(World(methods, cases, runs, seed=seed), 2000 if methods == 2 else 300) for methods, cases, runs, seed in grid
    ]
    lines += [NESTED, HEADER]
    lines += [_line(World(4, 20, runs, seeds, seed=4.0), 500) for runs, seeds in ((3, 3), (5, 3), (1, 5))]
    lines += [UNEVEN, HEADER]
    lines += [
        _line(World(methods, 20, runs, uneven=2.0), 1000 if methods == 2 else 200) for methods in (2, 18) for runs in (3, 5)
    ]
    lines += [WILD, HEADER]
    lines += [
        _line(World(methods, 10, runs, seed=6.0, run=3.0, uneven=0.25), 10000 // methods)
        for methods in (4, 6, 10, 18)
        for runs in (3, 5)
    ]
    return "\n".join([*lines, *simulated_standings.page(), ""])


def _line(world: World, repeats: int) -> str:
    found = rates(world, repeats)
    runs = str(world.runs) if world.seeds == 1 else f"{world.runs} x {world.seeds}"
    return (
        f"| {world.methods} | {world.cases} | {runs} | {world.seed:g} | {repeats} | {found.false:.3f} | {found.mean:.3f}"
        f" | {found.difference:.3f} |"
    )


INTRODUCTION = """# How often the report's verdicts are right

`make statistics` makes these tables from simulated worlds in which all methods are equal. A score is method + case (spread 8 DSC points)
+ run (2) + method x run ("seed": as the row says) + method x case (2) + rest (3); each world is judged as the report judges a budget.
False: the share of worlds with at least one "better" or "worse" against the baseline (Holm-adjusted p < .05; .05 is wanted). Coverage: of
the nominal 95 % intervals of a mean and of the differences. With one run nothing is tested and intervals are over cases only: the
column says how seldom they hold what training again would give, which is why the report labels them.
"""
HEADER = """
| Methods | Cases | Runs | Seed SD | Worlds | False | Coverage, mean | Coverage, difference |
|---:|---:|---:|---:|---:|---:|---:|---:|"""
NESTED = """
Draws x seeds (method x draw 4, method x seed 2): draws are what counts. Seeds of one draw (1 x 5) say nothing of other draws, and the
report says so beside each verdict.
"""
UNEVEN = """
Spreads that differ, 4 and 2: every other method moves twice as much from run to run as the baseline and the rest.
"""
WILD = """
Spreads that differ, 6 and 1.5 (run 3): the baseline and half of the others move four times as much from run to run as the rest. The
spread of runs is pooled over methods the less, the more they differ; were it pooled alone, of 10 methods in 3 runs .12 would be false.
"""

if __name__ == "__main__":
    print(page(), end="")
