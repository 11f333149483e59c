"""What the parts of a method do: main effects and interactions of a full factorial, from records alone.

An effect is a difference of mean scores between cells with the same draw and seed, on the same cases. Main effect of a level: how much
it adds to the factor's baseline, averaged over all levels of the other factors. Interaction: how much more (or less) levels add
together than the sum of what each adds, averaged likewise. Intervals count runs and cases as samples
(``reports.statistics.random_effects``), the spread of runs pooled over all variants of the design, so far as they
move alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.statistics.random_effects import Estimate, by_unit, combination, mean, overlap_of_folds, run_spread, units_of
from reports.tables.case_scores import case_scores
from reports.tables.comparable import check_comparable, folds_of
from reports.tables.escaping import in_markdown
from reports.tables.wording import cases_only

if TYPE_CHECKING:
    from benchmark.records.ablations import Design
    from benchmark.records.table import Records

METRICS = ["dsc", "hd95"]
SECTION = ["test_set", "labels"]
NOTES = (
    "Effects are differences of mean scores between cells of the same draw and seed on the same cases; DSC in points (more is better),"
    " HD95 in {unit} (less is better). A main effect is averaged over the levels of the other factors; a product (x) is how much more"
    " its parts add together than one by one. Intervals: 95 % over runs and cases, each on its own, not adjusted for the number of effects;"
    " one that holds 0 is no evidence of an effect, and one over cases only (one run) says nothing of training again."
)


@dataclass(frozen=True)
class Scores:
    """Scores of a complete factorial at one budget: values (levels of factor 1, ..., levels of factor F, units, cases).

    units: draws, or the seeds of one draw; runs: (draw, seed) for which every variant is done. overlap: as ``RunSpread``'s.
    """

    test_set: str
    labels: int
    metric: str
    values: np.ndarray
    runs: int
    overlap: float = 0.0

    def combined(self, weights: np.ndarray) -> Estimate:
        """A weighted sum of the variants' means; weights: (levels of factor 1, ..., levels of factor F)."""
        flat = self.values.reshape(-1, *self.values.shape[-2:])
        return combination(flat, weights.ravel(), run_spread(mean(flat, 2), self.overlap))

    def effect(self, term: dict[int, int]) -> Estimate:
        """A term's effect."""
        levels = self.values.shape[:-2]
        every = np.eye(math.prod(levels)).reshape(*levels, 1, -1)
        return self.combined(contrast(every, term)[0])


def factorial_scores(records: Records, design: Design, selection: str = "last") -> list[Scores]:
    """Case scores of the reported network by metric, test set and budget; of the runs for which every variant is done."""
    check_comparable(records.cells)
    done = records.cells[records.cells["outcome"] == "done"]
    known = done.reindex(columns=["cell", "labels", "variant", "draw", "seed", "reported"])
    scores = case_scores(records.cases[records.cases["selection"] == selection]).merge(known, on="cell")
    scores = scores[(scores["network"] == scores["reported"]) & scores["variant"].isin(list(design.variants))]
    shape = tuple(map(len, design.factors.values()))
    overlap = overlap_of_folds(max(folds_of(records.cells).values(), default=0.0))
    found = []
    for key, part in scores[scores["metric"].isin(METRICS)].groupby(["metric", *SECTION]):
        metric, test_set, labels = map(str, key)
        runs = part.groupby(["draw", "seed"])["variant"].nunique()
        complete = runs.index[runs == len(design.variants)]
        if not len(complete):
            continue
        table = part.pivot(index=["draw", "seed"], columns=["variant", "case"], values="value").loc[complete]
        values = np.stack([table[variant].to_numpy() for variant in design.variants])
        values = by_unit(values.reshape(len(values), len(complete), -1), units_of(list(complete)))
        found.append(Scores(test_set, int(labels), metric, values.reshape(*shape, *values.shape[1:]), len(complete), overlap))
    return found


def terms(design: Design) -> Iterator[tuple[str, dict[int, int]]]:
    """Every main effect and interaction: its name, and the level of each factor (by position) that it is about."""
    factors = list(design.factors.items())
    for order in range(1, len(factors) + 1):
        for chosen in itertools.combinations(range(len(factors)), order):
            for levels in itertools.product(*(range(1, len(factors[i][1])) for i in chosen)):
                names = [_level_name(*factors[i], level) for i, level in zip(chosen, levels, strict=True)]
                yield " x ".join(names), dict(zip(chosen, levels, strict=True))


def _level_name(factor: str, levels: tuple[str, ...], level: int) -> str:
    return factor if levels == ("false", "true") else f"{factor}={levels[level]}"


def contrast(values: np.ndarray, term: dict[int, int]) -> np.ndarray:
    """A term's effect for every run and case, (runs, cases): level minus baseline for its factors, mean over levels of the others."""
    for factor in reversed(range(values.ndim - 2)):
        chosen = term.get(factor)
        values = values.mean(factor) if chosen is None else values.take(chosen, factor) - values.take(0, factor)
    return values


def effects(records: Records, design: Design) -> pd.DataFrame:
    """A row per test set, budget and term: dsc, dsc_low, dsc_high (fractions), hd95, hd95_low, hd95_high, runs, units, cases."""
    rows: dict[tuple[str, int, str], dict[str, float | int | str]] = {}
    for scores in factorial_scores(records, design):
        for name, term in terms(design):
            row = rows.setdefault(
                (scores.test_set, scores.labels, name), {"runs": scores.runs, "cases": scores.values.shape[-1]}
            )
            effect = scores.effect(term)
            low, high = effect.interval()
            row |= {
                scores.metric: effect.value,
                f"{scores.metric}_low": low,
                f"{scores.metric}_high": high,
                "units": effect.runs,
            }
    columns = [*SECTION, "term", *(f"{m}{end}" for m in METRICS for end in ("", "_low", "_high")), "runs", "units", "cases"]
    keys = [dict(zip([*SECTION, "term"], key, strict=True)) for key in rows]
    return pd.DataFrame([key | row for key, row in zip(keys, rows.values(), strict=True)], columns=columns)


def by_name(effects: pd.DataFrame) -> dict[str, float]:
    """The effects that are defined, each by a name of its test set, budget, term and metric."""
    return {
        f"effect/{row['test_set']}/{row['labels']} labelled/{row['term']}/{metric}": float(row[metric])
        for row in effects.to_dict("records")
        for metric in METRICS
        if not math.isnan(row[metric])
    }


def _number(value: float, scale: float) -> str:
    return "-" if math.isnan(value) else f"{scale * value:+.1f}"


def texts_of(row: pd.Series) -> list[str]:
    """A row of the effects, in the order of ``header``."""
    scales = {"dsc": 100.0, "hd95": 1.0}
    texts = [str(row["labels"]), str(row["term"])]
    for metric, scale in scales.items():
        texts.append(_number(row[metric], scale))
        texts.append(
            f"[{_number(row[f'{metric}_low'], scale)}, {_number(row[f'{metric}_high'], scale)}]{cases_only(row['units'])}"
        )
    return [*texts, str(row["runs"])]


def header(unit: str) -> list[str]:
    """The columns' names; unit: of distances, mm or voxel."""
    return ["Labels", "Effect of", "DSC points", "95 % CI", f"HD95 {unit}".strip(), "95 % CI", "Runs"]


def unit_of(records: Records) -> str:
    """mm or voxel; empty where no cell is done."""
    units = records.cells.get("spacing_unit", pd.Series(dtype=object)).dropna()
    return str(units.iloc[0]) if len(units) else ""


def to_terminal(table: pd.DataFrame, design: Design, unit: str) -> Group:
    """The effects for rich to print: a table per test set."""
    parts: list[Table | Text] = []
    for test_set, part in table.groupby("test_set"):
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
        for title in header(unit):
            name = title == "Effect of"
            grid.add_column(Text(title), justify="left" if name else "right", no_wrap=not name, overflow="fold")
        following = [*part["labels"].iloc[1:], None]
        for (_, row), after in zip(part.iterrows(), following, strict=True):
            grid.add_row(*map(Text, texts_of(row)), end_section=after is not None and after != row["labels"])
        parts += [Text(f"{design.method}: effects of {', '.join(design.factors)} on {test_set}", style="bold"), grid, Text()]
    return (
        Group(*parts)
        if parts
        else Group(Text("no run is complete yet: every variant of a draw and seed is needed for effects"))
    )


def to_markdown(table: pd.DataFrame, design: Design, unit: str) -> str:
    """The effects as Markdown, with the levels and what the columns mean."""
    lines = [f"# Ablation of {in_markdown(design.method)}", ""]
    lines += [in_markdown(f"- {name}: {', '.join(levels)} (baseline {levels[0]})") for name, levels in design.factors.items()]
    for test_set, part in table.groupby("test_set"):
        titles = header(unit)
        lines += ["", f"## {in_markdown(str(test_set))}", "", f"| {' | '.join(titles)} |"]
        lines.append("|" + "|".join(":---" if name == "Effect of" else "---:" for name in titles) + "|")
        lines += [f"| {' | '.join(map(in_markdown, texts_of(row)))} |" for _, row in part.iterrows()]
    return "\n".join([*lines, "", NOTES.format(unit=unit or "voxel"), ""])
