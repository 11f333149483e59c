"""What tuning found, from the records of its trials alone: tables, how the best score grew, and what each hyper-parameter did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmark.ground.files import safe_name, write_text
from reports.statistics.resampling import expected_best
from reports.tables.leaderboard import rows_of, titled, to_csv

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmark.records.table import Records

ENOUGH = 12
"""Finished trials below which no importance is computed: with 8 imagined ones fANOVA missed the only hparam that mattered in 2 of 15
searches, with 12 in none (PED-ANOVA in 6, with 20 in 4)."""

NOTE = (
    "Best is the highest of many noisy scores on few validation cases, so its gain over the published values is optimistic;"
    " `run --hparams tuned` says on the test cases what it is worth."
)
COLUMNS = [
    *["dataset", "protocol", "labels", "method", "sampler", "trials", "pruned", "failed", "steps", "seconds"],
    *["published", "best", "hparams", "study"],
]


def trials_of(records: Records) -> pd.DataFrame:
    """The long table: a row per trial, finished or failed, in order. ``score``: DSC of the last weights on the validation cases.

    Columns study, dataset, protocol, protocol_title, labels, method (the variant that is tuned), sampler, number, outcome (done, pruned or
    failed), score, steps, seconds, hparams (those searched), searched.
    """
    cells = records.cells[records.cells["kind"] == "trial"]
    cells = cells.assign(protocol_title=titled(cells))
    rows = []
    for cell in cells.to_dict("records"):
        trial, done = cell["trial"], cell["outcome"] == "done"
        rows.append(
            {
                **{name: cell[name] for name in ("dataset", "protocol", "protocol_title", "labels")},
                **{"study": trial["study"], "method": trial["of"], "sampler": trial["sampler"], "number": trial["number"]},
                "outcome": "pruned" if done and cell["steps_done"] < cell["steps"] else cell["outcome"],
                "score": cell["validation_last"] if done else np.nan,
                "steps": int(cell["steps_done"]) if done else 0,
                "seconds": cell["seconds"] if done else 0.0,
                "hparams": {name: cell["hparams"][name] for name in trial["searched"]},
                "searched": trial["searched"],
            }
        )
    return pd.DataFrame(rows).sort_values(["labels", "study", "number"]).reset_index(drop=True) if rows else pd.DataFrame()


def studies_of(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per study (COLUMNS): what was spent, the score of the published values and of the best, the best hparams."""
    rows = []
    for study, part in trials.groupby("study", sort=False):
        first, whole = part.iloc[0], part[part["outcome"] == "done"]
        best = whole.iloc[int(whole["score"].to_numpy().argmax())] if len(whole) else None
        published = whole.loc[whole["number"] == 0, "score"]
        counts = {name: int((part["outcome"] == name).sum()) for name in ("pruned", "failed")}
        rows.append(
            {
                **{name: first[name] for name in ("dataset", "protocol", "labels", "method", "sampler")},
                **{"trials": len(part) - counts["failed"], **counts, "study": study},
                **{"steps": int(part["steps"].sum()), "seconds": round(float(part["seconds"].sum()), 1)},
                "published": float(published.iloc[0]) if len(published) else None,
                "best": None if best is None else float(best["score"]),
                "hparams": {} if best is None else best["hparams"],
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def to_terminal(studies: pd.DataFrame) -> Group:
    """A row per study, for rich to print."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Labels", "Method", "Trials", "Steps", "Published", "Best", "Best hyper-parameters"):
        grid.add_column(name, justify="left" if name in ("Method", "Best hyper-parameters") else "right", overflow="fold")
    for row in rows_of(studies):
        values = ", ".join(f"{name}={value:.3g}" for name, value in row.hparams.items())
        best = "the published ones" if row.published is not None and row.published == row.best else values
        extra = [f"{count} {what}" for count, what in ((row.pruned, "pruned"), (row.failed, "failed")) if count]
        trials = f"{row.trials}" + (f" ({', '.join(extra)})" if extra else "")
        grid.add_row(str(row.labels), row.method, trials, str(row.steps), _percent(row.published), _percent(row.best), best)
    title = "tuning: validation DSC % of the last weights; the same steps for each method and budget"
    return Group(Text(title, style="bold"), grid, Text(NOTE, style="dim"), Text())


def _percent(score: float | None) -> str:
    return "-" if score is None or np.isnan(score) else f"{100 * score:.1f}"


def write(records: Records, folder: Path) -> list[Path]:
    """Write ``studies.csv``, ``trials.csv``, and figures as PNG and SVG; returns the files, none where the records hold no trial."""
    import matplotlib as mpl

    from reports.figures.label_efficiency import NO_MATHS, save

    trials = trials_of(records)
    if trials.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    studies = studies_of(trials)
    paths = [folder / "studies.csv", folder / "trials.csv"]
    for path, table in zip(paths, (studies, trials.drop(columns=["searched", "protocol_title"])), strict=True):
        write_text(path, to_csv(table.assign(hparams=table["hparams"].map(json.dumps))))
    with mpl.rc_context(NO_MATHS):
        for (dataset, protocol), part in trials.groupby(["dataset", "protocol"], sort=False):
            paths += save(_growth(part), folder / safe_name(f"{dataset}-{protocol}-best"))
        for row in rows_of(studies):
            part = trials[trials["study"] == row.study]
            if (part["outcome"] == "done").sum() > 1:
                paths += save(_search(part), folder / _file_name(row))
    return paths


def _file_name(row: Any) -> str:
    """A study's file: readable, and with the hash at the end of the study's name, its own."""
    parts = [row.dataset, row.protocol, row.method, str(row.labels)]
    return f"{safe_name('-'.join(parts))}-{row.study.rpartition(' ')[2]}"


def _growth(trials: pd.DataFrame) -> Figure:
    """Best score against trials, a panel a budget: expected where trials are independent, else as it came; published values beside it."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from reports.figures.label_efficiency import look

    budgets = sorted(trials["labels"].unique())
    names = sorted(trials["method"].unique())
    figure = Figure(figsize=(2.2 + 3.6 * len(budgets), 3.4), layout="constrained")
    grid = figure.subplots(1, len(budgets), sharey=True, squeeze=False)
    for axes, labels in zip(grid[0], budgets, strict=True):
        for _, study in trials[(trials["labels"] == labels) & trials["score"].notna()].groupby("study", sort=False):
            style = look(names.index(study["method"].iloc[0]))
            independent = study["sampler"].iloc[0] == "random"
            drawn = study[study["number"] > 0] if independent else study
            scores = drawn["score"].to_numpy()
            best = expected_best(scores) if independent and len(scores) else np.maximum.accumulate(scores)
            axes.plot(np.arange(1, len(best) + 1), 100 * best, markersize=3, **style)
            published = study.loc[study["number"] == 0, "score"]
            axes.plot([0] * len(published), 100 * published, markersize=6, fillstyle="none", **(style | {"linestyle": ""}))
        axes.set_title(f"{labels} labelled", loc="left", fontsize="medium")
        axes.set_xlabel("trials (0: published values)")
        axes.grid(alpha=0.3)
    kinds = {"random": "expected best", "tpe": "best so far"}
    grid[0, 0].set_ylabel(f"validation DSC (%), {' or '.join(kinds[s] for s in sorted(trials['sampler'].unique()))}")
    handles = [Line2D([], [], label=name, **look(i)) for i, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


def _search(trials: pd.DataFrame) -> Figure:
    """One study: every trial as a line over its hparams, coloured by its score, beside the importances where there are enough trials."""
    from matplotlib.figure import Figure

    importances = _importances(trials)
    names = list(trials["searched"].iloc[0])
    width = 3.2 + 1.1 * len(names)
    widths = [width, 3.2] if importances else [width]
    figure = Figure(figsize=(sum(widths), 3.4), layout="constrained")
    grid = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)
    first = trials.iloc[0]
    figure.suptitle(
        f"{first['method']}, {first['labels']} labelled, {first['dataset']}, {first['protocol_title']}", x=0.02, ha="left"
    )
    _parallel(grid[0, 0], trials, names)
    if importances:
        axes = grid[0, 1]
        axes.barh(list(importances)[::-1], list(importances.values())[::-1], color="0.5")
        axes.set_xlabel("importance (fANOVA)")
        axes.set_xlim(0, 1)
    return figure


def _parallel(axes: Axes, trials: pd.DataFrame, names: list[str]) -> None:
    """Parallel coordinates: a vertical axis per hparam over its range (bottom low, top high), a line per trial."""
    from matplotlib import cm, colors

    searched = trials["searched"].iloc[0]
    scores = 100 * trials["score"]
    scale = colors.Normalize(scores.min(), scores.max() if scores.max() > scores.min() else scores.min() + 1)
    for row in rows_of(trials.sort_values("score", na_position="first")):
        heights = [_place(row.hparams[name], searched[name]) for name in names]
        colour = "0.8" if np.isnan(row.score) else cm.viridis(scale(100 * row.score))
        published = row.number == 0
        axes.plot(heights, color=colour, linewidth=2.5 if published else 1.2, linestyle="--" if published else "-", marker=".")
    for position, name in enumerate(names):
        axes.axvline(position, color="0.7", linewidth=0.8, zorder=0)
        for height, edge in ((-0.04, "low"), (1.04, "high")):
            text = f"{searched[name][edge]:g}"
            axes.text(position, height, text, ha="center", va="top" if height < 0 else "bottom", fontsize="x-small")
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize="small")
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set(yticks=[], ylim=(-0.02, 1.02))
    axes.set_frame_on(False)
    bar = axes.figure.colorbar(cm.ScalarMappable(scale, cm.viridis), ax=axes)
    bar.set_label("validation DSC (%); dashed: published", fontsize="small")


def _place(value: float, search: dict[str, Any]) -> float:
    """Where a value stands in its range, 0 to 1; a published value outside is drawn at the edge."""
    low, high = search["low"], search["high"]
    if search["log"]:
        low, high, value = np.log(low), np.log(high), np.log(max(value, low))
    return float(np.clip((value - low) / (high - low), 0, 1))


def _importances(trials: pd.DataFrame) -> dict[str, float]:
    """How much of the difference between good and other trials each hparam explains; empty where nothing can be said."""
    whole = trials[trials["outcome"] == "done"]
    searched = whole["searched"].iloc[0]
    if len(whole) < ENOUGH or len(searched) < 2 or whole["score"].nunique() < 2:
        return {}
    import optuna

    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(_as_study(whole), evaluator=evaluator)


def _as_study(trials: pd.DataFrame) -> optuna.Study:
    """An Optuna study in memory with these trials; one whose published value lies outside the range searched is left out."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row in rows_of(trials):
        ranges: dict[str, Any] = {
            name: optuna.distributions.FloatDistribution(**search) for name, search in row.searched.items()
        }
        if all(ranges[name]._contains(value) for name, value in row.hparams.items()):
            study.add_trial(optuna.trial.create_trial(params=row.hparams, distributions=ranges, value=row.score))
    return study
