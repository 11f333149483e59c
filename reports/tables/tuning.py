"""What tuning found, from the records of its trials alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmark.ground.grammar import as_typed
from reports.tables.comparable import rows_of, titled

if TYPE_CHECKING:
    from benchmark.records.table import Records

NOTE = (
    "Best is the highest of many noisy scores on few validation cases, so its gain over the published values is optimistic;"
    " `run --hparams tuned` says on the test cases what it is worth."
)
COLUMNS = [
    *["dataset", "protocol", "labels", "method", "sampler", "objective", "trials", "pruned", "failed", "steps", "seconds"],
    *["published", "best", "hparams", "study"],
]
TRANSFERS = ["dataset", "protocol", "method", "objective", "tuned_at", "used_at", "published", "score", "best", "hparams"]
NAMES = {"dsc": "DSC %", "nsd": "NSD %", "hd95": "HD95"}
"""Objectives as tables call them."""

SCALE = {"dsc": 100.0, "nsd": 100.0, "hd95": 1.0}
SIGN = {"dsc": 1, "nsd": 1, "hd95": -1}
"""1 where more is better."""


def trials_of(records: Records) -> pd.DataFrame:
    """The long table: a row per trial, finished or failed, in order. ``score``: of the last weights on the validation cases, by the
    objective that was searched for, or searched for first.

    Columns study, dataset, protocol, protocol_title, labels, method (the variant that is tuned), sampler, number, outcome (done, pruned or
    failed), objectives, score, dsc, nsd, hd95, front (whether no other trial of its study is better by one objective and not worse by any),
    steps, seconds, hparams (those searched), searched. ``found_at``: the budget of the study whose best values were tried here, which is no
    trial of this budget; NaN of all others.
    """
    cells = records.cells[records.cells["kind"] == "trial"]
    cells = cells.assign(protocol_title=titled(cells))
    means = _means(records, cells)
    rows = []
    for cell in cells.to_dict("records"):
        trial, done = cell["trial"], cell["outcome"] == "done"
        objectives = tuple(trial.get("objectives") or ["dsc"])
        scores = {"dsc": cell["validation_last"] if done else np.nan}
        scores |= {name: means.get((cell["cell"], name), np.nan) if done else np.nan for name in ("nsd", "hd95")}
        rows.append(
            {
                **{name: cell[name] for name in ("dataset", "protocol", "protocol_title", "labels")},
                **{"study": trial["study"], "method": trial["of"], "sampler": trial["sampler"], "number": trial["number"]},
                "outcome": "pruned" if done and cell["steps_done"] < cell["steps"] else cell["outcome"],
                "objectives": objectives,
                **{"score": scores[objectives[0]], **scores},
                "steps": int(cell["steps_done"]) if done else 0,
                "seconds": cell["seconds"] if done else 0.0,
                "hparams": {name: cell["hparams"][name] for name in trial["searched"]},
                "searched": trial["searched"],
                "found_at": trial.get("found_at") or np.nan,
            }
        )
    if not rows:
        return pd.DataFrame()
    trials = pd.DataFrame(rows).sort_values(["labels", "study", "number"]).reset_index(drop=True)
    return trials.assign(front=_on_front(trials))


def _means(records: Records, cells: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By cell and metric, the mean of the reported network on the validation cases."""
    if cells.empty or "reported" not in cells:
        return {}
    cases = records.cases[records.cases["metric"].isin(["nsd", "hd95"])]
    cases = cases.assign(cell=cases["cell"].astype(str)).merge(cells[["cell", "reported"]], on="cell")
    mine = cases[(cases["network"].astype(str) == cases["reported"]) & (cases["test_set"] == "validation")]
    means = mine.groupby(["cell", "metric"], observed=True)["value"].mean().dropna()
    return {
        (str(cell), str(metric)): float(value) for cell, metric, value in means.reset_index().itertuples(index=False, name=None)
    }


def _on_front(trials: pd.DataFrame) -> pd.Series:
    """Whether a finished trial is on its study's Pareto front."""
    found = pd.Series(False, index=trials.index)
    for _, part in trials[(trials["outcome"] == "done") & trials["found_at"].isna()].groupby("study", sort=False):
        names = part["objectives"].iloc[0]
        worth = np.stack([SIGN[name] * part[name].to_numpy(float) for name in names], axis=1)
        no_worse = np.all(worth[None] >= worth[:, None], axis=-1)
        better = np.any(worth[None] > worth[:, None], axis=-1)
        found[part.index] = ~np.any(no_worse & better, axis=1) & np.isfinite(worth).all(axis=1)
    return found


def studies_of(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per study (COLUMNS): what was spent, the score of the published values and of the best, the best hparams."""
    rows = []
    trials = trials if trials.empty else trials[trials["found_at"].isna()]
    for study, part in trials.groupby("study", sort=False) if len(trials) else ():
        first, whole = part.iloc[0], part[(part["outcome"] == "done") & part["score"].notna()]
        objective = first["objectives"][0]
        best = whole.iloc[int((SIGN[objective] * whole["score"].to_numpy()).argmax())] if len(whole) else None
        published = whole.loc[whole["number"] == 0, "score"]
        counts = {name: int((part["outcome"] == name).sum()) for name in ("pruned", "failed")}
        rows.append(
            {
                **{name: first[name] for name in ("dataset", "protocol", "labels", "method", "sampler")},
                "objective": ",".join(first["objectives"]),
                **{"trials": len(part) - counts["failed"], **counts, "study": study},
                **{"steps": int(part["steps"].sum()), "seconds": round(float(part["seconds"].sum()), 1)},
                "published": float(published.iloc[0]) if len(published) else None,
                "best": None if best is None else float(best["score"]),
                "hparams": {} if best is None else best["hparams"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def transfers_of(trials: pd.DataFrame) -> pd.DataFrame:
    """What tuning at one budget is worth at another (TRANSFERS): the score of the values that did best at ``tuned_at``, used at
    ``used_at``, between that budget's published values and its own best. A row per pair of studies of one search that were compared.
    """
    rows = []
    studies = studies_of(trials)
    used = trials[trials["found_at"].notna()] if len(trials) else trials
    for study in rows_of(studies):
        same = ["dataset", "protocol", "method", "sampler", "objective"]
        for other in rows_of(studies[(studies[same] == [getattr(study, name) for name in same]).all(axis=1)]):
            here = used[(used["study"] == study.study) & (used["labels"] == other.labels)] if len(used) else used
            scores = [row.score for row in rows_of(here) if row.hparams == study.hparams]
            if other.study != study.study and scores:
                about = {name: getattr(study, name) for name in ("dataset", "protocol", "method", "objective", "hparams")}
                about |= {"tuned_at": study.labels, "used_at": other.labels, "score": scores[-1]}
                rows.append(about | {"published": other.published, "best": other.best})
    return pd.DataFrame(rows, columns=TRANSFERS)


def to_terminal(studies: pd.DataFrame) -> Group:
    """A row per study, for rich to print."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Labels", "Method", "Trials", "Steps", "Published", "Best", "Best hyper-parameters"):
        grid.add_column(name, justify="left" if name in ("Method", "Best hyper-parameters") else "right", overflow="fold")
    for row in rows_of(studies):
        best = "the published ones" if row.published is not None and row.published == row.best else values_in_words(row.hparams)
        extra = [f"{count} {what}" for count, what in ((row.pruned, "pruned"), (row.failed, "failed")) if count]
        trials = f"{row.trials}" + (f" ({', '.join(extra)})" if extra else "")
        shown = [_shown(row.objective, row.published), _shown(row.objective, row.best)]
        grid.add_row(str(row.labels), row.method, trials, str(row.steps), *shown, best)
    what = " or ".join(dict.fromkeys(NAMES[name.partition(",")[0]] for name in studies["objective"])) or NAMES["dsc"]
    title = f"tuning: validation {what} of the last weights; the same steps for each method and budget"
    return Group(Text(title, style="bold"), grid, Text(NOTE, style="dim"), Text())


def fronts_to_terminal(trials: pd.DataFrame) -> Group:
    """The Pareto front of each study with two objectives, a row a trial; nothing of others."""
    parts: list[RenderableType] = []
    for _, part in trials[trials["front"]].groupby("study", sort=False) if len(trials) else ():
        first = part.iloc[0]
        names = first["objectives"]
        if len(names) == 1:
            continue
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in ("Trial", *(NAMES[name] for name in names), "Hyper-parameters"):
            grid.add_column(name, justify="left" if name == "Hyper-parameters" else "right", overflow="fold")
        for row in part.sort_values(names[0], ascending=SIGN[names[0]] < 0).to_dict("records"):
            grid.add_row(str(row["number"]), *(_shown(name, row[name]) for name in names), values_in_words(row["hparams"]))
        title = f"{first['method']}, {first['labels']} labelled: trials that no other beats by both"
        parts += [Text(title, style="bold"), grid, Text()]
    return Group(*parts)


def transfers_to_terminal(transfers: pd.DataFrame) -> Group:
    """A row per method and pair of budgets, for rich to print."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Method", "Tuned at", "Used at", "Published", "Transferred", "Best here", "Hyper-parameters"):
        grid.add_column(name, justify="left" if name in ("Method", "Hyper-parameters") else "right", overflow="fold")
    for row in rows_of(transfers):
        shown = [_shown(row.objective, value) for value in (row.published, row.score, row.best)]
        grid.add_row(row.method, str(row.tuned_at), str(row.used_at), *shown, values_in_words(row.hparams))
    what = " or ".join(dict.fromkeys(NAMES[name.partition(",")[0]] for name in transfers["objective"]))
    title = f"what tuning at one budget is worth at another: validation {what}, one run each"
    return Group(Text(title, style="bold"), grid, Text())


def values_in_words(values: dict[str, Any]) -> str:
    """``learning_rate=0.52, views=2, distance=mse``."""
    shown = {name: f"{value:.3g}" if isinstance(value, float) else as_typed(value) for name, value in values.items()}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def _shown(objective: str, score: float | None) -> str:
    name = objective.partition(",")[0]
    return "-" if score is None or np.isnan(score) else f"{SCALE[name] * score:.1f}"
