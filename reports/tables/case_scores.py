"""From the long table of metrics to a score a case; NaN means not defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.tables.comparable import COMPARABLE, METHOD

if TYPE_CHECKING:
    from benchmark.records.table import Records


def reported_cases(records: Records, metrics: list[str], selection: str = "last", every_network: bool = False) -> pd.DataFrame:
    """The long table of finished runs in these metrics, with each cell's METHOD, draw and seed; of the reported network alone, or of
    every network. Texts are categories, in alphabetical order: of millions of rows, grouping by them takes a third of the time.
    """
    asked = (records.cases["selection"] == selection) & records.cases["metric"].isin(metrics)
    done = records.cells[records.cells["outcome"] == "done"]
    known = done.reindex(columns=["cell", *METHOD, "draw", "seed", "reported"])
    cell = pd.CategoricalDtype(sorted(known["cell"]))
    network = pd.CategoricalDtype(sorted({*records.cases["network"].unique(), *known["reported"].dropna()}))
    texts = dict.fromkeys([*COMPARABLE, "variant"], "category")
    cases = records.cases[asked].astype({"cell": cell, "network": network, "test_set": "category"})
    cases = cases.merge(known.astype(texts | {"cell": cell, "reported": network}), on="cell")
    return cases if every_network else cases[cases["network"] == cases["reported"]]


def case_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """One score per case: the mean over classes, then over the volumes of the case. Undefined values are left out.

    Args:
        cases: the long table of records (columns cell, test_set, case, volume, class, network, selection, metric, value).

    Returns:
        Columns cell, test_set, network, selection, metric, case, value.
    """
    case = ["cell", "test_set", "network", "selection", "metric", "case"]
    volumes = cases.groupby([*case, "volume"], sort=False, observed=True)["value"].mean()
    return volumes.groupby(case, sort=False, observed=True).mean().reset_index()


def class_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """As ``case_scores``, one score per case and class: the mean over the volumes of the case."""
    case = ["cell", "test_set", "network", "selection", "metric", "case", "class"]
    return cases.groupby(case, sort=False, observed=True)["value"].mean().reset_index()


@dataclass(frozen=True)
class Block:
    """Scores of one metric at one budget: values (rows, runs, cases), NaN where not done or undefined; runs: (draw, seed)."""

    rows: tuple[Any, ...]
    runs: tuple[tuple[int, int], ...]
    cases: tuple[str, ...]
    values: np.ndarray


def block(scores: pd.DataFrame, row: list[str]) -> Block:
    """From columns draw, seed, case and value, of which some is defined, to an array; ``row`` names the columns that tell rows apart.

    What has no value at all, a row, a run or a case, is left out.
    """
    known = scores[scores["value"].notna()]
    rows: Any = known.groupby(row, sort=True, observed=True)
    draws, seeds = (known[name].to_numpy(dtype=np.int64) for name in ("draw", "seed"))
    seeds_end = int(seeds.max()) + 1
    runs, of_run = np.unique(draws * seeds_end + seeds, return_inverse=True)
    all_cases = known["case"].astype("category").cat
    cases, of_case = np.unique(all_cases.codes.to_numpy(), return_inverse=True)
    values = np.full((rows.ngroups, len(runs), len(cases)), np.nan)
    values[rows.ngroup().to_numpy(), of_run, of_case] = known["value"].to_numpy()
    named = tuple(map(str, all_cases.categories[cases]))
    return Block(tuple(rows.size().index), tuple(divmod(int(run), seeds_end) for run in runs), named, values)
