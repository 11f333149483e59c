"""Which trials end early: a trial's floors are fixed when it is asked for, from the looks of trials of earlier rounds.

A trial is held against the best it had so far, as in Optuna's pruners. Trial 0, the published values, has no floors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import Protocol

Pruner = Literal["none", "median", "hyperband"]
Floors = tuple[tuple[int, float], ...]
"""(step, DSC) pairs: training ends at a step where the best validation score so far is below."""

REDUCTION = 3
"""Of the trials of a bracket of Hyperband, one in so many goes past a rung (eta in the paper)."""


def floors(pruner: Pruner, number: int, earlier: Mapping[int, dict[int, float]], protocol: Protocol, least: int) -> Floors:
    """The floors of trial ``number``. earlier: looks (step to DSC) by the numbers of earlier rounds' trials; of fewer than ``least``, the
    median says nothing yet.
    """
    scored = {other: looks for other, looks in earlier.items() if looks}
    if pruner == "median" and len(scored) >= least:
        looked = sorted({step for looks in scored.values() for step in looks if step < protocol.steps})
        return tuple((step, float(np.median([looks[step] for looks in scored.values() if step in looks]))) for step in looked)
    return _hyperband(number, scored, protocol) if pruner == "hyperband" else ()


def _hyperband(number: int, scored: dict[int, dict[int, float]], protocol: Protocol) -> Floors:
    """Hyperband (Li et al., JMLR 2018) with successive halving as trials come (Li et al., MLSys 2020): trial n is in bracket n mod B; a
    bracket has rungs at thirds of thirds of the steps, the first all of them, the last none; at a rung the best third of the bracket's
    trials that came there goes on.
    """
    rungs = rungs_of(protocol)
    brackets = len(rungs) + 1
    found = []
    for step in rungs[number % brackets :]:
        there = [looks[step] for other, looks in scored.items() if other % brackets == number % brackets and step in looks]
        if len(there) >= REDUCTION:
            found.append((step, float(np.sort(there)[::-1][len(there) // REDUCTION - 1])))
    return tuple(found)


def rungs_of(protocol: Protocol) -> list[int]:
    """The looks at which Hyperband may end a trial: the first one at or after 1/3 of the steps, 1/9, 1/27 ...; in order.

    Raises:
        BadInput: there are too few looks for one.
    """
    looks = [round(protocol.steps * (i + 1) / protocol.validations) for i in range(protocol.validations)]
    rungs, share = set(), protocol.steps / REDUCTION
    while share >= looks[0]:
        rungs.add(min(look for look in looks if look >= share - 0.5))
        share /= REDUCTION
    if not rungs:
        raise BadInput(
            f"--pruner hyperband: {protocol.title} looks at the validation cases {protocol.validations} times; expected {REDUCTION} or"
            " more; use median, or give the protocol more validations"
        )
    return sorted(rungs)
