"""Figures of a section: every case, differences, ranks, classes, draws, cost, training. The same records give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import spearmanr

from reports.figures.label_efficiency import look
from reports.tables import comparison
from reports.tables.comparison import Field, baseline_of
from reports.tables.leaderboard import SECTION, reported_cases, rows_of

if TYPE_CHECKING:
    from benchmark.records.table import Records

ROW_HEIGHT = 0.24
WORSE, TIED, BETTER = "#d55e00", "0.55", "#0173b2"
READABLE = 200
"""Numbers in a heatmap; beyond that, colours alone."""

PROPAGATION = "label_propagation"
WHY_NOT_STARS = "colours say only whether the Holm-adjusted p is below .05"


def _panels(found: list[Field], width: float, height: float, sharex: bool = True) -> tuple[Figure, list[Axes]]:
    """A panel per budget, side by side."""
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(1.8 + width * len(found), 0.9 + height), layout="constrained")
        grid = figure.subplots(1, len(found), squeeze=False, sharex=sharex)[0]
    for axes, field in zip(grid, found, strict=True):
        axes.set_title(f"{field.labels} labelled", loc="left", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid)


def _name_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def every_case(found: list[Field]) -> Figure:
    """DSC of every test case, a row per variant, a dot per case (mean over its runs); the bar is the mean."""
    figure, panels = _panels(found, 3.4, ROW_HEIGHT * max(len(f.variants) for f in found))
    for axes, field in zip(panels, found, strict=True):
        spread = np.linspace(-0.28, 0.28, len(field.cases))
        for row, scores in enumerate(field.means):
            axes.scatter(100 * scores, row + spread, s=9, color=BETTER, alpha=0.55, linewidths=0)
            axes.plot([100 * np.nanmean(scores)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.6)
        _name_rows(axes, list(field.variants))
        axes.set_xlabel("DSC (%) of a case")
        axes.set_xlim(-2, 102)
    return figure


def differences(found: list[Field], baseline: str) -> Figure | None:
    """Difference from the baseline with its 95 % interval, a row per variant; None where it has not run."""
    tables = [(field, field.ranked.against(baseline_of(baseline, field.section))) for field in found]
    tables = [(field, table) for field, table in tables if len(table)]
    if not tables:
        return None
    figure, panels = _panels([f for f, _ in tables], 3.4, ROW_HEIGHT * max(len(table) for _, table in tables))
    for axes, (_, table) in zip(panels, tables, strict=True):
        table = table.sort_values("shift", ascending=False, ignore_index=True)
        for row in rows_of(table):
            colour = {comparison.BETTER: BETTER, comparison.WORSE: WORSE}.get(row.verdict, TIED)
            if not np.isnan(row.shift_low):
                axes.plot([100 * row.shift_low, 100 * row.shift_high], [row.Index] * 2, color=colour, linewidth=1.8)
            axes.plot(100 * row.shift, row.Index, "o", color=colour, markersize=5)
        axes.axvline(0, color="black", linewidth=0.8)
        _name_rows(axes, list(table["variant"]))
        axes.set_xlabel(f"DSC points over {baseline}")
    return figure


def _heatmap(axes: Axes, values: np.ndarray, rows: list[str], columns: list[str], form: str = ".0f", **more: Any) -> AxesImage:
    """Colours, with numbers where they can be read: not zeros, and none at all in a large table."""
    image = axes.imshow(values, aspect="auto", **more)
    if np.count_nonzero(values) <= READABLE:
        for (row, column), value in np.ndenumerate(values):
            if value and not np.isnan(value):
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                colour = "white" if dark else "black"
                number = axes.text(column, row, format(value, form), ha="center", va="center", fontsize=7, color=colour)
                number.set_in_layout(False)  # it is inside, and asking each for its place takes long
    axes.set_yticks(range(len(rows)), rows, fontsize="small")
    axes.set_xticks(range(len(columns)), columns, fontsize="small", rotation=45 if max(map(len, columns)) > 4 else 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return image


def by_class(found: list[Field], records: Records) -> Figure:
    """Mean DSC of each class, a row per variant."""
    scores = reported_cases(records.without_trials(), ["dsc"])
    scores = scores[(scores[SECTION] == list(found[0].section)).all(axis=1)]
    case = scores.groupby(["labels", "variant", "class", "cell", "case"], observed=True)["value"].mean()
    means = case.groupby(["labels", "variant", "class"], observed=True).mean().unstack("class")
    classes = list(map(str, means.columns))
    figure, panels = _panels(found, 0.9 + 0.62 * len(classes) + 1.2, ROW_HEIGHT * max(len(f.variants) for f in found) + 0.5)
    for axes, field in zip(panels, found, strict=True):
        values = 100 * means.loc[field.labels].reindex(list(field.variants)).to_numpy()
        _heatmap(axes, values, list(field.variants), classes, cmap="viridis", vmin=0, vmax=100)
    return figure


def by_run(found: list[Field]) -> Figure:
    """Mean DSC in each run: how much the draw and the seed matter beside the method."""
    runs = max(len(field.runs) for field in found)
    width = 0.45 if runs <= 6 else 0.2
    figure, panels = _panels(found, 1.9 + width * runs, ROW_HEIGHT * max(len(f.variants) for f in found) + 0.4, sharex=False)
    for axes, field in zip(panels, found, strict=True):
        with np.errstate(all="ignore"):
            values = 100 * np.ma.masked_invalid(field.scores).mean(2).filled(np.nan)
        names = [f"d{draw} s{seed}" if runs <= 6 else "" for draw, seed in field.runs]
        _heatmap(axes, values, list(field.variants), names, cmap="viridis", vmin=0, vmax=100)
    return figure


def ranking(field: Field) -> Figure:
    """One budget: how often each variant takes each rank when other runs and cases are drawn, and which pairs differ (Holm-adjusted p)."""
    size = len(field.variants)
    side = 1.4 + 0.27 * size
    with sns.axes_style("white"):
        figure = Figure(figsize=(2 * side + 3.4, side + 0.6), layout="constrained")
        left, right = figure.subplots(1, 2)
    names, ranks = list(field.variants), list(map(str, range(1, size + 1)))
    _heatmap(left, np.round(100 * field.ranks.frequency), names, ranks, cmap="Blues", vmin=0, vmax=100)
    left.set_title("how often (%) at each rank", loc="left", fontsize="medium")
    image = _heatmap(right, field.p_values, names, names, ".2f", cmap="magma", vmin=0, vmax=0.2)
    figure.colorbar(image, ax=right, label="Holm-adjusted p")
    right.tick_params(axis="x", labelrotation=90)
    right.set_title("paired tests over runs and cases", loc="left", fontsize="medium")
    figure.suptitle(f"{field.labels} labelled", x=0.01, ha="left", fontsize="medium")
    return figure


def cost(found: list[Field], board: pd.DataFrame) -> Figure:
    """DSC against seconds of training; what no other variant beats in both is joined by a line."""
    figure, panels = _panels(found, 3.2, 3.0)
    names = sorted({variant for field in found for variant in field.variants})
    rows = board[(board[SECTION] == list(found[0].section)).all(axis=1) & board["dsc"].notna()]
    for axes, field in zip(panels, found, strict=True):
        part = rows[rows["labels"] == field.labels].sort_values(["seconds", "dsc"], ascending=[True, False])
        for row in rows_of(part):
            axes.plot(row.seconds, 100 * row.dsc, markersize=7, **_marker(names.index(row.variant)))
        front = part[part["dsc"] > part["dsc"].cummax().shift(fill_value=-1.0)]
        axes.plot(front["seconds"], 100 * front["dsc"], color="0.6", linewidth=1, zorder=0)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("seconds of a run")
    panels[0].set_ylabel("DSC (%)")
    _legend(figure, names, _marker)
    return figure


def _marker(number: int) -> dict[str, Any]:
    return look(number) | {"linestyle": ""}


def _legend(figure: Figure, names: list[str], style: Callable[[int], dict[str, Any]]) -> None:
    handles = [Line2D([], [], label=name, **style(i)) for i, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small", ncols=1 + len(names) // 22)


def training(found: list[Field], records: Records) -> Figure | None:
    """Validation DSC over the steps, mean of the runs; None where nothing was validated."""
    cells = records.cells.reindex(columns=[*records.cells.columns, "looks"]) if "looks" not in records.cells else records.cells
    dataset, protocol, kind, _ = found[0].section
    here = (
        (cells["dataset"] == dataset) & (cells["protocol"] == protocol) & (cells["kind"] == kind) & (cells["outcome"] == "done")
    )
    rows = [
        (row.labels, row.variant, step, score)
        for row in rows_of(cells[here])
        for step, score in (row.looks if isinstance(row.looks, list) else [])
    ]
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["labels", "variant", "step", "score"])
    figure, panels = _panels(found, 3.2, 3.0)
    names = sorted(table["variant"].unique())
    for axes, field in zip(panels, found, strict=True):
        means = table[table["labels"] == field.labels].groupby(["variant", "step"])["score"].mean()
        for variant, line in means.groupby(level="variant"):
            steps = line.droplevel("variant")
            axes.plot(steps.index, 100 * steps.to_numpy(), markersize=4, linewidth=1.2, **look(names.index(str(variant))))
        axes.set_xlabel("step")
    panels[0].set_ylabel("validation DSC (%)")
    _legend(figure, names, look)
    return figure


def against_published(board: pd.DataFrame, section: tuple[str, ...]) -> Figure | None:
    """Ours with its interval beside each published number of the same dataset, method, variant and budget; None where there is none."""
    from reports.tables.published import published

    rows = rows_of(board[(board[SECTION] == list(section)).all(axis=1) & board["dsc"].notna()])
    ours = [p for p in published() if p.matches]
    pairs = [
        (row, [p for p in ours if (p.dataset, p.method, p.labels) == (row.dataset, row.variant, row.labels)]) for row in rows
    ]
    pairs = [(row, numbers) for row, numbers in pairs if numbers and row.kind == "run"]
    if not pairs:
        return None
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(8, 0.9 + 0.3 * len(pairs)), layout="constrained")
        axes = figure.subplots()
    fills = {"read": "full", "secondary": "left", "unchecked": "none"}
    for place, (row, numbers) in enumerate(pairs):
        axes.plot([100 * row.dsc_low, 100 * row.dsc_high], [place] * 2, color=BETTER, linewidth=2)
        axes.plot(100 * row.dsc, place, "o", color=BETTER)
        for number in numbers:
            axes.plot(number.dsc, place, "D", color=WORSE, fillstyle=fills[number.confidence], markersize=6)
    _name_rows(axes, [f"{row.variant}, {row.labels}" for row, _ in pairs])
    axes.set_xlabel("DSC (%): ours with interval (blue); published (diamonds: full read, half second-hand, empty unchecked)")
    axes.set_xlim(0, 100)
    return figure


def uses_registration(hparams: Any) -> bool:
    """Whether a cell's hparams switch a registration term on."""
    return isinstance(hparams, dict) and bool(hparams.get("rsl") or hparams.get("reps"))


def registration_gain(found: list[Field], records: Records, baseline: str) -> Figure | None:
    """Gain over the baseline of every method with a registration term, a dot per test case, against the DSC of registration alone.

    Registration alone is ``label_propagation`` on the same case and the same runs. rho: Spearman's correlation. None where it, the
    baseline or such a method has not run.
    """
    base, alone = (baseline_of(name, found[0].section) for name in (baseline, PROPAGATION))
    hparams = records.cells.drop_duplicates("variant").set_index("variant").reindex(columns=["hparams"])["hparams"]
    panels_of = [
        (field, [v for v in field.variants if uses_registration(hparams.get(v)) and v not in (base, alone)])
        for field in found
        if base in field.variants and alone in field.variants
    ]
    panels_of = [(field, variants) for field, variants in panels_of if variants]
    if not panels_of:
        return None
    figure, panels = _panels([field for field, _ in panels_of], 3.2, 3.2)
    names = sorted({variant for _, variants in panels_of for variant in variants})
    for axes, (field, variants) in zip(panels, panels_of, strict=True):
        of = dict(zip(field.variants, 100 * field.means, strict=True))
        for variant in variants:
            gain, style = of[variant] - of[base], _marker(names.index(variant))
            known = ~np.isnan(gain) & ~np.isnan(of[alone])
            rho = spearmanr(of[alone][known], gain[known]).statistic if known.sum() > 2 else np.nan
            text = f"rho {rho:+.2f}" if not np.isnan(rho) else None
            axes.plot(of[alone], gain, markersize=5, alpha=0.8, label=text, **style)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("DSC (%) of registration alone")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="x-small", frameon=True, framealpha=0.7, handletextpad=0.1)
    panels[0].set_ylabel(f"DSC points over {base}")
    _legend(figure, names, _marker)
    return figure


@dataclass(frozen=True)
class Drawing:
    """A figure of a section, still to be drawn: file name, caption; ``draw`` returns None where the records have nothing for it."""

    name: str
    caption: str
    draw: Callable[[], Figure | None]


def drawings(found: list[Field], records: Records, board: pd.DataFrame, baseline: str) -> list[Drawing]:
    """Every figure of a section."""
    every = [
        Drawing(
            "cases",
            "Every test case: a dot is a case's DSC, mean over runs and classes; the bar is the mean.",
            lambda: every_case(found),
        )
    ]
    for against in dict.fromkeys((baseline, "cctr")):
        caption = f"Differences from {against} with 95 % interval (over cases only, if one run is done); {WHY_NOT_STARS}."
        every.append(Drawing(f"against-{against}", caption, partial(differences, found, against)))
    every.append(Drawing("classes", "Mean DSC (%) of each class.", lambda: by_class(found, records)))
    if any(len(field.runs) > 1 for field in found):
        caption = "Mean DSC (%) of each run (draw, seed): columns that differ say how much the labelled cases matter."
        every.append(Drawing("runs", caption, lambda: by_run(found)))
    for field in found:
        if len(field.ranked.variants) > 1:
            caption = (
                f"{field.labels} labelled: ranks over 10,000 resamples of runs and cases, and Holm-adjusted p of all pairs."
            )
            every.append(Drawing(f"ranks-{field.labels}", caption, partial(ranking, field.ranked)))
    caption = (
        f"Does segmentation gain where registration works? A dot is a test case: across, the DSC of {PROPAGATION} (warped labels,"
        f" no network); up, what a method with a registration term gains over {baseline}. Cases that are hard for the"
        " baseline leave more to gain, so a correlation is no cause."
    )
    return [
        *every,
        Drawing(
            "cost",
            "Accuracy against training time; the grey line joins what nothing else beats in both.",
            lambda: cost(found, board),
        ),
        Drawing("registration-gain", caption, lambda: registration_gain(found, records, baseline)),
        Drawing("training", "Validation DSC during training, mean over runs.", lambda: training(found, records)),
        Drawing(
            "published",
            "Ours beside published numbers; protocols differ, see the verdict column of the leaderboard.",
            lambda: against_published(board, found[0].section),
        ),
    ]
