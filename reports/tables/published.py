"""Published numbers beside ours: what a paper or repository reports, how sure that is, and whether ours can be held against it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

FILE = Path(__file__).with_name("published.yaml")
SELECTIONS = {"last": "last", "val": "val"}
"""Our selection of weights by the published one; the others (oracle, valtest) use cases that are reported, which ours never does."""

SURE = {"read": "", "secondary": ", from another paper's table", "unchecked": ", unchecked"}


@dataclass(frozen=True)
class Published:
    """One published number: DSC in percent, of which variant, how its weights were selected, and where it stands.

    matches: whether the variant is what our ``method`` is. test_set: ours that holds the cases that it is of.
    """

    dataset: str
    method: str
    variant: str
    labels: int
    dsc: float
    selection: str
    confidence: str
    source: str
    matches: bool = True
    test_set: str = "test"

    def __str__(self) -> str:
        return f"{self.dsc:g} ({self.variant}; {self.selection}; {self.source}{SURE[self.confidence]})"

    def comparable(self, row: Any) -> bool:
        """Whether both are of the same test cases, with weights selected in the same way."""
        return (self.test_set, SELECTIONS.get(self.selection)) == (row.test_set, row.selection)

    def verdict(self, row: Any) -> str:
        """Ours against it: "within reach of one more run", "higher", "lower", or why there is no verdict.

        The test cases and the labelled ones are those of the published number (draw 0), so only training again differs: a number is
        within reach if it lies in the 95 % prediction interval for one more run, mean +- t s sqrt(1 + 1/R) of the R runs of draw 0.

        row: of the leaderboard. Numbers of other variants, unchecked ones, other protocols and test sets and selections on the reported
        cases are not compared.
        """
        if not self.matches:
            return f"another variant: {self.variant}"
        if self.confidence == "unchecked":
            return "not comparable: the number is unchecked"
        if row.runs_unconverged:
            return "not comparable: not converged"
        if row.protocol != "paper":
            return f"not comparable: protocol {row.protocol}"
        if row.test_set != self.test_set:
            return f"not comparable: test set {row.test_set}"
        if not self.comparable(row):
            return f"not comparable: selection {self.selection}"
        if not row.draw0_runs:
            return "not comparable: draw 0, that of published numbers, has not run"
        if row.draw0_runs == 1:
            return "no verdict: one run of draw 0"
        reach = float(stats.t.ppf(0.975, row.draw0_runs - 1)) * row.draw0_sd * np.sqrt(1 + 1 / row.draw0_runs)
        if abs(self.dsc / 100 - row.draw0_dsc) <= reach:
            return "within reach of one more run"
        return "higher" if row.draw0_dsc > self.dsc / 100 else "lower"


@functools.cache
def published() -> tuple[Published, ...]:
    """Every number of ``published.yaml``."""
    fields = Published.__dataclass_fields__
    return tuple(
        Published(**{key: value for key, value in row.items() if key in fields}) for row in yaml.safe_load(FILE.read_text())
    )


def published_for(row: Any) -> list[Published]:
    """The numbers to show beside a row of the leaderboard: of its method with published hparams, dataset and budget; first of the same
    variant, among those comparable ones, and among those the surest.
    """
    if row.kind != "run":
        return []
    found = [p for p in published() if (p.dataset, p.method, p.labels) == (row.dataset, row.variant, row.labels)]
    order = list(SURE)
    return sorted(found, key=lambda p: (not p.matches, not p.comparable(row), order.index(p.confidence)))
