"""Who is better than whom: paired on the same cases and the same runs, from records alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from reports.leaderboard import METHOD, SECTION, check_comparable, reported_cases, titled, unconverged
from reports.statistics import (
    Ranks,
    better_probability,
    case_scores,
    detectable_difference,
    gap_closed,
    holm,
    interquartile_mean,
    paired_shift,
    rank_bootstrap,
    ranks_by_test,
)

if TYPE_CHECKING:
    from benchmark.records import Records

ENOUGH_CASES = 2


@dataclass(frozen=True)
class Field:
    """Everything that ran at one budget on one test set: DSC of each variant for every run and case.

    section: dataset, protocol, kind, test set. scores: (variants, runs, cases) fractions, variants best first; NaN where a run of a
    variant is not done. runs: (draw, seed). protocol_title: the protocol as titles call it.
    unconverged: by variant, in words, which classes some of its runs never found.
    """

    section: tuple[str, ...]
    labels: int
    variants: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    cases: tuple[str, ...]
    scores: np.ndarray
    protocol_title: str
    unconverged: dict[str, str]

    @cached_property
    def ranked(self) -> Field:
        """Of those that have converged alone: what ranks and comparisons are of."""
        keep = [variant not in self.unconverged for variant in self.variants]
        variants = tuple(itertools.compress(self.variants, keep))
        return self if all(keep) else replace(self, variants=variants, scores=self.scores[keep], unconverged={})

    @cached_property
    def means(self) -> np.ndarray:
        """(variants, cases): means over the runs that every variant has done, or over each variant's own where there is none."""
        complete = ~np.isnan(self.scores).all(2).any(0)
        return np.nanmean(self.scores[:, complete] if complete.any() else self.scores, axis=1)

    @cached_property
    def ranks(self) -> Ranks:
        """Ranks of mean scores and how they move when other cases are drawn."""
        return rank_bootstrap(self.means)

    @cached_property
    def ranks_by_test(self) -> np.ndarray:
        """(variants,): ranks by how many others each is significantly better than."""
        return ranks_by_test(self.means)

    @cached_property
    def p_values(self) -> np.ndarray:
        """(variants, variants): Holm-adjusted p of all pairs; NaN on the diagonal."""
        pairs = list(itertools.combinations(range(len(self.variants)), 2))
        adjusted = holm(np.array([paired_shift(self.means[i] - self.means[j]).p for i, j in pairs]))
        table = np.full((len(self.variants),) * 2, np.nan)
        for (i, j), p in zip(pairs, adjusted, strict=True):
            table[i, j] = table[j, i] = p
        return table

    def against(self, baseline: str) -> pd.DataFrame:
        """Each other variant against ``baseline``, over the runs that both have done; empty where it has not run.

        Columns variant, shift, shift_low, shift_high (Hodges-Lehmann over cases, DSC fractions), p (Wilcoxon, Holm over the
        variants), better, better_low, better_high (P of a better run), detectable (the difference found with 80 % power), paired_runs.
        """
        if baseline not in self.variants:
            return pd.DataFrame(columns=AGAINST)
        base = self.scores[self.variants.index(baseline)]
        rows = []
        for variant, scores in zip(self.variants, self.scores, strict=True):
            both = ~(np.isnan(scores).all(1) | np.isnan(base).all(1))
            if variant == baseline or not both.any():
                continue
            differences = np.nanmean(scores[both], 0) - np.nanmean(base[both], 0)
            shift = paired_shift(differences)
            better = better_probability(np.nanmean(scores[both], 1), np.nanmean(base[both], 1))
            found = detectable_difference(differences, comparisons=len(self.variants) - 1)
            rows.append([variant, shift.estimate, shift.low, shift.high, shift.p, *better, found, int(both.sum())])
        table = pd.DataFrame(rows, columns=AGAINST)
        return table.assign(p=holm(table["p"].to_numpy(dtype=float)))


AGAINST = [
    *["variant", "shift", "shift_low", "shift_high", "p"],
    *["better", "better_low", "better_high", "detectable", "paired_runs"],
]
GAPS = ["variant", "tasks", "runs", "gap", "low", "high"]


def fields(records: Records, selection: str = "last") -> Iterator[Field]:
    """Every budget of every section in which a run is done, in the leaderboard's order.

    Raises:
        BadInput: as ``leaderboard``.
    """
    records = records.without_trials()
    check_comparable(records.cells)
    cases = reported_cases(records, ["dsc"], selection)
    known = cases[["cell", *METHOD, "draw", "seed"]].drop_duplicates("cell")
    scores = case_scores(cases).merge(known, on="cell").astype({"case": str})
    words = unconverged(records) if selection == "last" else {}
    titles = dict(zip(records.cells["protocol"], titled(records.cells), strict=True))
    groups: Any = scores.groupby([*SECTION, "labels"], observed=True)
    for (*section, labels), part in groups:
        table = part.pivot_table(index="variant", columns=["draw", "seed", "case"], values="value", observed=True)
        runs = tuple(dict.fromkeys((int(draw), int(seed)) for draw, seed, _ in table.columns))
        names = tuple(sorted(part["case"].unique()))
        full = table.reindex(columns=pd.MultiIndex.from_tuples([(*run, case) for run in runs for case in names]))
        order = full.mean(axis=1).sort_values(ascending=False, kind="stable").index
        values = full.loc[order].to_numpy().reshape(len(order), len(runs), len(names))
        variants = tuple(map(str, order))
        not_yet = {v: words[key] for v in variants if (key := (*section[:3], int(labels), v)) in words}
        yield Field(tuple(section), int(labels), variants, runs, names, values, titles[section[1]], not_yet)


def gaps_closed(found: list[Field], everything: dict[tuple[str, ...], int], baseline: str) -> pd.DataFrame:
    """Over all tasks (section and budget): how much of the way from the baseline with few labels to the baseline with all a variant goes.

    Only variants that have run on every task which has both ends stand in the table, best first: columns variant, tasks, runs, gap, low,
    high (interquartile mean with 95 % bootstrap interval).

    Args:
        everything: the number of training cases of each section, which is the budget of the upper end.
    """
    found = [field.ranked for field in found]
    closed: dict[str, list[np.ndarray]] = {}
    tasks = 0
    ends = {(field.section, field.labels): field for field in found}
    for field in found:
        upper = ends.get((field.section, everything.get(field.section, -1)))
        name = baseline_of(baseline, field.section)
        if upper is None or upper is field or name not in field.variants or name not in upper.variants:
            continue
        tasks += 1
        lower, most = (np.nanmean(f.scores[f.variants.index(name)]) for f in (field, upper))
        for variant, scores in zip(field.variants, field.scores, strict=True):
            if variant != name:
                runs = scores[~np.isnan(scores).all(1)]
                closed.setdefault(variant, []).append(gap_closed(np.nanmean(runs, 1), lower, most))
    rows = []
    for variant, parts in closed.items():
        if len(parts) == tasks:
            width = max(map(len, parts))
            values = np.array([np.pad(part, (0, width - len(part)), constant_values=np.nan) for part in parts])
            rows.append([variant, tasks, int((~np.isnan(values)).sum()), *interquartile_mean(values)])
    table = pd.DataFrame(rows, columns=GAPS)
    return table[table["gap"].notna()].sort_values("gap", ascending=False, ignore_index=True)


def baseline_of(name: str, section: tuple[str, ...]) -> str:
    """The baseline's variant in a section: tuned ones are compared with the tuned baseline."""
    return f"{name} (tuned)" if section[2] == "tuned" else name
