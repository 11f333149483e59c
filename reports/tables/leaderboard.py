"""The leaderboard: one row per method and budget, computed from records alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.statistics.missing_runs import on_all_runs
from reports.statistics.random_effects import by_unit, combination, mean, overlap_of_folds, run_spread, units_of
from reports.tables.case_scores import block, case_scores, reported_cases
from reports.tables.comparable import COMPARABLE, METHOD, SECTION, check_comparable, folds_of, rows_of, titled
from reports.tables.wording import unconverged_in_words

if TYPE_CHECKING:
    from benchmark.records.table import Records

OUTCOMES = ("done", "failed", "unfinished")
TUNING = ["tuning_trials", "tuning_steps", "tuning_seconds"]
ENDS = ["off", "_low", "_high"]
ROW = [*SECTION, "labels", "variant", "network"]
BUDGET = [*SECTION, "labels"]
METRICS = ["dsc", "hd95", "assd", "nsd"]
FRACTIONS = ["dsc", "nsd"]
"""Of METRICS, those within 0 and 1, of which more is better; the others are distances."""

OF_DSC = ["runs_lacking", "units", "draw0_runs", "draw0_dsc", "draw0_sd"]
COST = ["seconds", "parameters", "passes", "peak_memory_mb"]
TABLE = [
    *[*SECTION, "selection", "labels", "val_labels", "train_cases", "variant", "network"],
    *[f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")],
    *["spacing_unit", "cases", "missed", "undefined", "structures"],
    *[
        "runs_done",
        "runs_collapsed",
        "runs_unconverged",
        "never_found",
        "runs_failed",
        "runs_unfinished",
        "runs_kept",
        "runs_lacking",
        "units",
    ],
    *["draw0_runs", "draw0_dsc", "draw0_sd"],
    *[*COST, "machines", *TUNING, "error", "protocol_title"],
]


def leaderboard(records: Records, selection: str = "last", every_network: bool = False) -> pd.DataFrame:
    """One row per dataset, protocol, test set, budget and method variant, best DSC first within a budget.

    dsc, hd95, assd and nsd are means over classes, then the volumes of a case, then cases and runs. dsc and nsd are fractions, hd95
    and assd are in ``spacing_unit``; _low and _high bound their 95 % intervals, over runs and cases
    (``reports.statistics.random_effects``) or, where ``units`` (draws, or seeds of one draw) is 1, over cases alone. Means of a row
    that lacks runs that others have done (``runs_lacking``) are on the scale of all runs: what makes a run hard for all is taken off.
    draw0_* are the runs of draw 0 alone, with the spread between them. Of all ``structures`` (a class in a volume in a run) ``missed``
    were in only one of prediction and truth, and ``undefined`` in neither: they have no distance. seconds, parameters, passes (images
    through networks per image of a batch, at the end of training) and peak_memory_mb are means per run, on ``machines`` different ones.
    ``runs_collapsed`` predict nothing: every structure is missed. ``val_labels`` counts the
    validation cases whose labels the selection used. ``kind`` is "tuned" where `tune` found the hyper-parameters, with what that took
    in trials, steps and seconds, else "run". runs_kept counts finished runs of other code that were used as they are. A method whose
    every run failed has a row without scores. Of the runs done, the last weights of ``runs_unconverged`` never predict the classes
    ``never_found`` on the validation cases, though they are there: such a row is no statement on the method, and comes last.

    Args:
        records: the tables of a store, finished or not.
        selection: "last" weights, or "val": the best on the validation cases.
        every_network: a row for each network of a method, instead of the reported one alone.

    Raises:
        BadInput: there are no records, or some do not belong into one column (other data, protocol or draw; a run twice).
    """
    records = records.without_trials()
    check_comparable(records.cells)
    cases = reported_cases(records, [*METRICS, "missed"], selection, every_network)
    table = (
        _runs(records.cells)
        .merge(cases[SECTION].drop_duplicates().astype(str), on=COMPARABLE, how="left")
        .merge(_scores(cases, folds_of(records.cells)), on=[*SECTION, "labels", "variant"], how="left")
        .fillna({"test_set": "-", "network": "-"})
    )
    table["selection"] = selection
    table["val_labels"] = table["val_cases"].fillna(0).astype(int) if selection == "val" else 0
    if selection != "last":
        table = table.assign(runs_unconverged=0, never_found="")
    order = [*SECTION, "labels", "unconverged", "dsc", "variant", "network"]
    table = table.assign(unconverged=table["runs_unconverged"] > 0)
    table = table.sort_values(order, ascending=[column != "dsc" for column in order])
    return table[TABLE].reset_index(drop=True)


def _runs(cells: pd.DataFrame) -> pd.DataFrame:
    """Per METHOD: how many runs are done and failed, why, which classes some never found, and what they cost."""
    titles, never = titled(cells), cells.get("never_predicted", pd.Series(index=cells.index)).map(_names)
    cells = cells.reindex(
        columns=[*METHOD, "outcome", "error", "tuning", *COST, "train_cases", "val_cases", "spacing_unit", "kept", "machine"]
    )
    kept = cells["kept"].eq(True) & (cells["outcome"] == "done")
    cells = cells.assign(runs_kept=kept, **{f"runs_{outcome}": cells["outcome"] == outcome for outcome in OUTCOMES})
    cells["protocol_title"] = titles
    cells["never_found"] = never
    cells["runs_unconverged"] = never.map(len) > 0
    for name in TUNING:
        cells[name] = [
            spent[name.removeprefix("tuning_")] if isinstance(spent, dict) else math.nan for spent in cells["tuning"]
        ]
    by_method = cells.groupby(METHOD)
    return pd.concat(
        [
            by_method[[*(f"runs_{outcome}" for outcome in (*OUTCOMES, "kept")), "runs_unconverged"]].sum(),
            by_method["never_found"].agg(lambda found: ", ".join(dict.fromkeys(name for names in found for name in names))),
            by_method[COST].mean(),
            by_method["machine"].nunique().rename("machines"),
            by_method[["train_cases", "val_cases", "spacing_unit", "protocol_title", *TUNING]].first(),
            by_method["error"].agg(lambda errors: "; ".join(sorted(set(errors.dropna())))),
        ],
        axis=1,
    ).reset_index()


def _names(found: Any) -> tuple[str, ...]:
    """The classes that a run never predicts; none where its record does not say."""
    return tuple(found) if isinstance(found, list) else ()


def unconverged(records: Records) -> dict[tuple[Any, ...], str]:
    """In words, by METHOD: what has not converged with its last weights."""
    rows = rows_of(_runs(records.cells))
    return {tuple(getattr(row, name) for name in METHOD): words for row in rows if (words := unconverged_in_words(row))}


def _scores(cases: pd.DataFrame, folds: dict[str, float]) -> pd.DataFrame:
    """Per ROW: mean scores with intervals, OF_DSC, and counts. folds: by dataset, where it is cross-validated."""
    known = cases[["cell", *METHOD, "draw", "seed"]].drop_duplicates("cell")
    scores = case_scores(cases).merge(known, on="cell")
    means = scores.pivot_table(index=ROW, columns="metric", values="value", observed=True).reindex(columns=METRICS)
    budgets = [
        _budget(part, overlap_of_folds(folds.get(str(part["dataset"].iloc[0]), 0.0)))
        for _, part in scores.groupby([*BUDGET, "metric"], observed=True)
        if part["metric"].iloc[0] in METRICS and part["value"].notna().any()
    ]
    found = pd.concat(budgets) if budgets else pd.DataFrame(columns=[*ROW, "metric", *ENDS, *OF_DSC])
    off, *ends = (found.pivot_table(index=ROW, columns="metric", values=end).reindex(columns=METRICS) for end in ENDS)
    means += off
    intervals: list[pd.DataFrame | pd.Series] = [values.add_suffix(end) for values, end in zip(ends, ENDS[1:], strict=True)]
    intervals.append(found[found["metric"] == "dsc"].set_index(ROW)[OF_DSC])
    missed = cases[cases["metric"] == "missed"].groupby(ROW, observed=True)["value"]
    distances = cases[cases["metric"] == "hd95"].groupby(ROW, observed=True)["value"]
    of_run = cases[cases["metric"].isin(["missed", "hd95"])].groupby([*ROW, "cell", "metric"], observed=True)["value"]
    sums, counts = (table.unstack("metric").reindex(columns=["missed", "hd95"]) for table in (of_run.sum(), of_run.count()))
    collapsed = (sums["missed"] == counts["hd95"]) & (counts["hd95"] > 0)
    table = means.join(intervals).assign(
        cases=cases.groupby(ROW, observed=True)["case"].nunique(),
        missed=missed.sum(),
        undefined=distances.size() - distances.count(),
        structures=missed.size(),
        runs_collapsed=collapsed.groupby(ROW, observed=True).sum(),
    )
    return table.reset_index().astype(dict.fromkeys([*SECTION, "variant", "network"], str))


def _budget(scores: pd.DataFrame, overlap: float) -> pd.DataFrame:
    """Of all rows of a budget in one metric, together: what their means are off by for want of runs, intervals, and OF_DSC. overlap: as
    ``run_spread``'s.
    """
    where = scores[[*BUDGET, "metric"]].iloc[0].to_dict()
    part = block(scores, ["variant", "network"])
    values, most = part.values, 1.0 if where["metric"] in FRACTIONS else np.inf
    units = by_unit(values, units_of(part.runs))
    of_unit, of_draw_0 = mean(units, 2), mean(values, 2)[:, [draw == 0 for draw, _ in part.runs]]
    spread, off = run_spread(of_unit, overlap), on_all_runs(of_unit, most) - mean(of_unit, 1)
    done = ~np.isnan(of_draw_0)
    rows = []
    for row, ((variant, network), weights) in enumerate(zip(part.rows, np.eye(len(part.rows)), strict=True)):
        found = combination(units, weights, spread)
        low, high = np.clip(np.array(found.interval()) + off[row], 0, most)
        lacking = int(np.isnan(values[row]).all(1).sum())
        first = of_draw_0[row, done[row]]
        draw_0 = (len(first), first.mean() if len(first) else np.nan, first.std(ddof=1) if len(first) > 1 else np.nan)
        rows.append(where | {"variant": variant, "network": network})
        rows[-1] |= dict(zip([*ENDS, *OF_DSC], (off[row], low, high, lacking, found.runs, *draw_0), strict=True))
    return pd.DataFrame(rows)
