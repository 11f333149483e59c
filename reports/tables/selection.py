"""What it costs to choose a method by the validation cases, at each budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reports.statistics.random_effects import mean
from reports.statistics.selection import choice
from reports.tables.comparable import METHOD, SECTION
from reports.tables.comparison import Field

if TYPE_CHECKING:
    from benchmark.records.table import Records

COLUMNS = [*SECTION, "labels", "chosen", "best", "regret", "one_run", "hits", "methods", "runs"]


def regrets(records: Records, found: list[Field]) -> pd.DataFrame:
    """A row per budget at which two methods or more have validation scores of their last weights, as DSC of the test set.

    chosen: by the mean validation score; best: on the test cases; regret: DSC (fraction) between them; one_run: on average, of who
    chooses by the validation cases of one run; hits: how often that is the best. The best is known with noise, which is in all of these.
    Methods that do not train have no validation score and take no part.
    """
    cells = records.cells.reindex(columns=[*METHOD, "draw", "seed", "outcome", "validation_last"])
    done = cells[(cells["outcome"] == "done") & cells["validation_last"].notna()]
    known = done.set_index([*METHOD, "draw", "seed"])["validation_last"].to_dict()
    rows = []
    for field in (field.ranked for field in found):
        budget = (*field.section[:3], field.labels)
        validation = [[known.get((*budget, variant, *run), np.nan) for run in field.runs] for variant in field.variants]
        scored = np.reshape(validation, (len(field.variants), len(field.runs))).astype(float)
        keep = np.flatnonzero(~np.isnan(scored).all(1))
        chosen = choice(scored[keep], mean(field.scores[keep], 2))
        if chosen:
            names = [field.variants[keep[place]] for place in (chosen.chosen, chosen.best)]
            numbers = [chosen.regret, chosen.one_run, chosen.hits, len(keep), chosen.runs]
            rows.append([*field.section, field.labels, *names, *numbers])
    return pd.DataFrame(rows, columns=COLUMNS)
