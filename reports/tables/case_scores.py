"""From the long table of metrics to a score a case; NaN means not defined."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
