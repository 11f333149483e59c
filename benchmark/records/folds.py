"""The folds of a cross-validation as one run: done once all of them are, with the cases of all."""

from __future__ import annotations

from typing import Any

from benchmark.records.identity import digest

SAME_RUN = ("dataset", "protocol", "protocol_hash", "kind", "labels", "variant", "draw", "seed", "data_hash")
SUMS, MOST = ("seconds",), ("peak_memory_mb", "passes")


def as_runs(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of cells, folds put together; and, by the id of a fold's cell, that of the run that it is part of.

    A run over folds is called after all its cells, and its dataset says how many there are, so that it stands in no table with runs of
    another split; ``folds`` is that number. A fold that failed or is missing makes the run failed or unfinished.
    """
    runs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    found = []
    for row in rows:
        if row.get("fold"):
            runs.setdefault((row["fold"][1], *(row[name] for name in SAME_RUN)), []).append(row)
        else:
            found.append(row)
    owner: dict[str, str] = {}
    for (of, *_), folds in runs.items():
        run = _run(folds, of)
        owner |= {row["cell"]: run["cell"] for row in folds}
        found.append(run)
    return found, owner


def in_folds(dataset: str, of: int) -> str:
    """How tables call a dataset that is cross-validated in so many folds."""
    return f"{dataset}-in-{of}-folds"


def _run(folds: list[dict[str, Any]], of: int) -> dict[str, Any]:
    """One row of the rows of a run's folds."""
    first = folds[0]
    failed = [row for row in folds if row["outcome"] == "failed"]
    complete = len(folds) == of and all(row["outcome"] == "done" for row in folds)
    run = dict(failed[0] if failed else first)
    run["outcome"] = "done" if complete else "failed" if failed else "unfinished"
    run["cell"] = digest(sorted(row["cell"] for row in folds))
    run["dataset"] = in_folds(first["dataset"], of)
    run["draw_hash"] = digest([of, first["labels"], first["draw"]])
    run["folds"] = of
    run["kept"] = any(row["kept"] for row in folds)
    for name in (*SUMS, *MOST):
        values = [float(row[name]) for row in folds if row.get(name) is not None]
        if values:
            run[name] = sum(values) if name in SUMS else max(values)
    return run
