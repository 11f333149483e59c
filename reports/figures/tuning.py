"""What tuning found: how the best score grew, and what each hyper-parameter did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib import cm, colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.ground.grammar import as_typed
from benchmark.ground.ranges import contains, distribution, ends, place
from reports.figures.marks import mark, panel
from reports.figures.panels import legend
from reports.figures.style import fold, look
from reports.statistics.multiplicity import expected_best
from reports.tables.comparable import rows_of
from reports.tables.tuning import NAMES, SCALE, SIGN

if TYPE_CHECKING:
    import optuna

ENOUGH = 12
"""Finished trials below which no importance is computed: with 8 imagined ones fANOVA missed the only hparam that mattered in 2 of 15
searches, with 12 in none (PED-ANOVA in 6, with 20 in 4)."""


def growth(trials: pd.DataFrame, numbers: dict[str, int]) -> Figure:
    """Best score against trials of one objective, a panel a budget: expected where trials are independent, else as it came; published
    values beside it. numbers: of methods, for their looks.
    """
    objective = trials["objectives"].iloc[0][0]
    sign, scale, measure = SIGN[objective], SCALE[objective], NAMES[objective]
    budgets = sorted(trials["labels"].unique())
    names = sorted(trials["method"].unique())
    kinds = ["expected best" if sampler == "random" else "best so far" for sampler in sorted(trials["sampler"].unique())]
    figure = Figure(figsize=(0.4 + 3.4 * len(budgets), 3.0), layout="constrained")
    grid = figure.subplots(1, len(budgets), sharey=True, squeeze=False)
    for axes, labels in zip(grid[0], budgets, strict=True):
        came: list[str] = []
        for _, study in trials[(trials["labels"] == labels) & trials["score"].notna()].groupby("study", sort=False):
            method = study["method"].iloc[0]
            style = look(numbers[method])
            independent = study["sampler"].iloc[0] == "random"
            drawn = study[study["number"] > 0] if independent else study
            worth = sign * drawn["score"].to_numpy()
            best = scale * sign * (expected_best(worth) if independent and len(worth) else np.maximum.accumulate(worth))
            line = axes.plot(np.arange(1, len(best) + 1), best, markersize=3, **style)[0]
            mark(line, method, *(f"{method}, {n} trials: {score:.1f}" for n, score in enumerate(best, 1)))
            came.append(f"{method} {best[-1]:.1f} after {len(best)} trials" if len(best) else f"{method}: nothing")
            published = study.loc[study["number"] == 0, "score"]
            axes.plot([0] * len(published), scale * published, markersize=6, fillstyle="none", **(style | {"linestyle": ""}))
        axes.set_title(f"{labels} labelled", loc="left", fontsize="medium")
        axes.set_xlabel("trials (0: published values)", fontsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize="small", labelleft=True)
        axes.set_ylabel(f"validation {measure}, {' or '.join(dict.fromkeys(kinds))}", fontsize="small")
        axes.grid(alpha=0.3)
        panel(axes, f"{labels} labelled, best validation {measure}: {', '.join(came)}.")
    legend(figure, names, look, numbers)
    return figure


def front(trials: pd.DataFrame) -> Figure:
    """One study's two objectives against each other: finished trials as dots, the Pareto front joined, the published values ringed."""
    first, done = trials.iloc[0], trials[trials["outcome"] == "done"]
    names = first["objectives"]
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    axes = figure.subplots()
    scores = {name: SCALE[name] * done[name].to_numpy(float) for name in names}
    axes.plot(scores[names[0]], scores[names[1]], "o", color="0.7", markersize=4, label="trials")
    best = done[done["front"]].sort_values(names[0])
    axes.plot(*(SCALE[name] * best[name] for name in names), "o-", color="C0", markersize=5, label="Pareto front")
    published = done[done["number"] == 0]
    ringed = [SCALE[name] * published[name] for name in names]
    axes.plot(*ringed, "o", fillstyle="none", color="black", markersize=10, label="published values")
    axes.set(xlabel=f"validation {NAMES[names[0]]}", ylabel=f"validation {NAMES[names[1]]}")
    axes.set_title(f"{first['method']}, {first['labels']} labelled, {first['dataset']}", loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return figure


def search(trials: pd.DataFrame) -> Figure:
    """One study: every trial as a line over its hparams, coloured by its score, beside the importances where there are enough trials."""
    importances = _importances(trials)
    names = list(trials["searched"].iloc[0])
    width = 3.2 + 1.1 * len(names)
    widths = [width, 3.2] if importances else [width]
    figure = Figure(figsize=(sum(widths), 3.4), layout="constrained")
    grid = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)
    first = trials.iloc[0]
    figure.suptitle(
        fold(f"{first['method']}, {first['labels']} labelled, {first['dataset']}, {first['protocol_title']}", 60),
        x=0.02,
        ha="left",
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

    searched, objective = trials["searched"].iloc[0], trials["objectives"].iloc[0][0]
    scores = SCALE[objective] * SIGN[objective] * trials["score"]
    scale = colors.Normalize(scores.min(), scores.max() if scores.max() > scores.min() else scores.min() + 1)
    for row in rows_of(trials.assign(worth=scores).sort_values("worth", na_position="first")):
        heights = [place(searched[name], row.hparams[name]) for name in names]
        colour = "0.8" if np.isnan(row.worth) else cm.viridis(scale(row.worth))
        published = row.number == 0
        axes.plot(heights, color=colour, linewidth=2.5 if published else 1.2, linestyle="--" if published else "-", marker=".")
    for position, name in enumerate(names):
        axes.axvline(position, color="0.7", linewidth=0.8, zorder=0)
        for end in ends(searched[name]):
            height, text = place(searched[name], end), f"{end:g}" if isinstance(end, float) else as_typed(end)
            where = {0.0: (-0.04, "top", "center"), 1.0: (1.04, "bottom", "center")}.get(height, (height, "center", "left"))
            axes.text(position + (0.03 if 0 < height < 1 else 0), where[0], text, ha=where[2], va=where[1], fontsize="x-small")
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize="small")
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set(yticks=[], ylim=(-0.02, 1.02))
    axes.set_frame_on(False)
    bar = axes.figure.colorbar(cm.ScalarMappable(scale, cm.viridis), ax=axes)
    bar.set_label(f"validation {NAMES[objective]}; dashed: published", fontsize="small")
    if SIGN[objective] < 0:
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{-value:g}")


def _importances(trials: pd.DataFrame) -> dict[str, float]:
    """How much of the difference between good and other trials each hparam explains; empty where nothing can be said."""
    whole = trials[(trials["outcome"] == "done") & trials["score"].notna()]
    if whole.empty:
        return {}
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
        ranges = {name: distribution(search) for name, search in row.searched.items()}
        if all(contains(row.searched[name], value) for name, value in row.hparams.items()):
            study.add_trial(optuna.trial.create_trial(params=row.hparams, distributions=ranges, value=row.score))
    return study
