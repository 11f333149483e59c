"""Worlds with a known truth for what follows from comparisons: whether an order flips, and how many labels a method is worth."""

import math

import numpy as np

from reports.tables.comparison import Field
from reports.tables.label_equivalence import label_equivalence

BUDGETS = np.array([1.0, 3.0, 9.0])
CURVE = np.array([0.4, 0.6, 0.8])


def flips(draws: int, seeds: int, repeats: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two methods up to 15 points apart: the stated chance that one more run of both, on the same cases, turns their order; and whether
    it did.
    """
    rng, stated, flipped = np.random.default_rng(seed), [], []
    ids = tuple((draw, seed) for draw in range(draws) for seed in range(seeds))
    for _ in range(repeats):
        cases = rng.normal(0, 2, (2, 1, 12)) + np.array([0.0, rng.uniform(-15, 15)])[:, None, None]

        def trained(draws, each, cases=cases):
            of_run = np.repeat(rng.normal(0, 2, (2, draws, 1)), each, axis=1)
            of_run = of_run + rng.normal(0, 2, (2, draws * each, 1)) * (seeds > 1)
            return cases + of_run + rng.normal(0, 2, (2, draws * each, 12))

        field = Field(("d", "p", "run", "t"), 3, ("a", "b"), ids, tuple("abcdefghijkl"), trained(draws, seeds), "p", {})
        again = trained(1, 1).mean((1, 2))
        stated.append(field.flip(0, 1))
        flipped.append((again[0] - again[1]) * field.difference(0, 1).value < 0)
    return np.array(stated), np.array(flipped)


def budget(rng, labels, levels, runs=3, cases=20, hard=None):
    """A field at so many labels: supervised at its level, two of its kind, then cctr; points."""
    spread = rng.normal(0, 2, (len(levels), runs, 1)) + rng.normal(0, 2, (1, runs, 1))
    scores = np.array(levels)[:, None, None] + spread + hard + rng.normal(0, 3, (len(levels), 1, cases))
    scores = (scores + rng.normal(0, 3, (len(levels), runs, cases))) / 100
    names = ("supervised", "second", "third", "cctr")[: len(levels)]
    ids = tuple((run, run) for run in range(runs))
    return Field(("d", "p", "run", "test"), labels, names, ids, tuple(f"c{i:02}" for i in range(cases)), scores, "p", {})


def worth(truth: float, runs: int, repeats: int, seed: int = 2) -> tuple[float, float]:
    """cctr with 3 labels, as good as the baseline with ``truth``: how often the interval holds that, and how often it has two ends."""
    rng = np.random.default_rng(seed)
    score = 100 * float(np.interp(math.log(truth), np.log(BUDGETS), CURVE))
    inside, bounded = [], []
    for _ in range(repeats):
        hard = rng.normal(0, 8, 20)
        fields = [
            budget(rng, int(labels), [100 * level, 60, 60, *([score] if labels == 3 else [])], runs, hard=hard)
            for labels, level in zip(BUDGETS, CURVE, strict=True)
        ]
        row = label_equivalence(fields, "supervised").set_index(["labels", "variant"]).loc[(3, "cctr")]
        inside.append(row["low"] <= truth <= row["high"])
        bounded.append(0 < row["low"] <= row["equivalent"] <= row["high"] < math.inf)
    return float(np.mean(inside)), float(np.mean(bounded))


FLIPS = """
Whether the order flips (P(flip)): two methods up to 15 points apart, 12 cases, run spread 2, method x case 2, rest 2; of seeds, as much
again. Stated: the chance that one more run of both, on these cases, turns their order, on average over worlds and over those where it is
above .2; observed: how often it then did.

| Runs | Worlds | Stated | Observed | Stated, above .2 | Observed, above .2 |
|---:|---:|---:|---:|---:|---:|"""
WORTH = """
Labels that a method is worth: supervised at 40, 60 and 80 % with 1, 3 and 9 labels, four methods, 20 cases, the same at all budgets; run
spread 2, method x run 2, method x case 3, rest 3. Coverage: of the nominal 95 % interval; two ends: how often it is bounded on both sides.

| Truly worth | Runs | Worlds | Coverage | Two ends |
|---:|---:|---:|---:|---:|"""


def page() -> list[str]:
    """The tables of docs/statistics.md."""
    lines = [FLIPS]
    for draws, seeds in ((3, 1), (5, 1), (3, 3)):
        stated, flipped = flips(draws, seeds, 1000)
        unsure = stated > 0.2
        rates = (stated.mean(), flipped.mean(), stated[unsure].mean(), flipped[unsure].mean())
        name = str(draws) if seeds == 1 else f"{draws} x {seeds}"
        lines.append(f"| {name} | 1000 | {' | '.join(f'{rate:.3f}' for rate in rates)} |")
    lines.append(WORTH)
    for truth in (1.6, 3.0, 5.0):
        for runs in (3, 5):
            inside, bounded = worth(truth, runs, 200)
            lines.append(f"| {truth:g} | {runs} | 200 | {inside:.3f} | {bounded:.3f} |")
    return lines
