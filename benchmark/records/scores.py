"""Means of a finished cell's scores, from its files."""

from __future__ import annotations

from typing import Any

from benchmark.records.store import CellFolder

METRICS = ("dsc", "hd95", "assd", "nsd")


def mean_scores(folder: CellFolder, record: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    """By test set, selection and metric, the mean over cases and classes of the reported network; those that are defined."""
    import pandas as pd

    cases = pd.read_csv(folder.path / "cases.csv", dtype={"case": str})
    headline = cases[(cases["network"] == record.get("reported")) & cases["metric"].isin(METRICS)]
    means = headline.groupby(["test_set", "selection", "metric"])["value"].mean().dropna()
    rows = means.reset_index().itertuples(index=False, name=None)
    return {(str(test_set), str(selection), str(metric)): float(value) for test_set, selection, metric, value in rows}
