"""Published numbers beside ours: what a paper or repository reports, how sure that is, and whether ours can be held against it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")
SELECTIONS = {"last": "last", "val": "val"}
"""Our selection of weights by the published one; the others (oracle, valtest) use cases that are reported, which ours never does."""

SURE = {"read": "", "secondary": ", from another paper's table", "unchecked": ", unchecked"}


@dataclass(frozen=True)
class Published:
    """One published number: DSC in percent, of which variant, how its weights were selected, and where it stands.

    matches: whether the variant is what our ``method`` is.
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

    def __str__(self) -> str:
        return f"{self.dsc:g} ({self.variant}; {self.selection}; {self.source}{SURE[self.confidence]})"

    def verdict(self, row: Any) -> str:
        """Ours against it: "within interval", "higher", "lower", or why the two cannot be compared.

        row: of the leaderboard. Numbers of other variants, unchecked ones, other protocols and selections on the reported cases are not
        compared.
        """
        if not self.matches:
            return f"another variant: {self.variant}"
        if self.confidence == "unchecked":
            return "not comparable: the number is unchecked"
        if row.runs_unconverged:
            return "not comparable: not converged"
        if row.protocol != "paper":
            return f"not comparable: protocol {row.protocol}"
        if SELECTIONS.get(self.selection) != row.selection:
            return f"not comparable: selection {self.selection}"
        if row.dsc_low <= self.dsc / 100 <= row.dsc_high:
            return "within interval"
        return "higher" if row.dsc > self.dsc / 100 else "lower"


@functools.cache
def published() -> tuple[Published, ...]:
    """Every number of ``published.yaml``."""
    fields = Published.__dataclass_fields__
    return tuple(
        Published(**{key: value for key, value in row.items() if key in fields}) for row in yaml.safe_load(FILE.read_text())
    )


def published_for(row: Any) -> Published | None:
    """The number to show beside a row of the leaderboard: of its method with published hparams, dataset and budget; first of the same
    variant, among those the surest, and among those one that was selected as the row was.
    """
    if row.kind != "run":
        return None
    found = [p for p in published() if (p.dataset, p.method, p.labels) == (row.dataset, row.variant, row.labels)]
    order = list(SURE)
    return min(
        found,
        key=lambda p: (not p.matches, order.index(p.confidence), SELECTIONS.get(p.selection) != row.selection),
        default=None,
    )
