"""Whether segmentation gains where registration works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from reports.figures.marks import mark
from reports.figures.panels import dot, legend, panel_per_budget
from reports.tables.comparison import Field, baseline_of

if TYPE_CHECKING:
    from benchmark.records.table import Records


PROPAGATION = "label_propagation"


def uses_registration(hparams: Any) -> bool:
    """Whether a cell's hparams switch a registration term on."""
    return isinstance(hparams, dict) and bool(hparams.get("rsl") or hparams.get("reps"))


def registration_gain(found: list[Field], records: Records, baseline: str, numbers: dict[str, int]) -> Figure | None:
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
    seen = [f"gain over {base} of {', '.join(variants)}, by the DSC of registration alone." for _, variants in panels_of]
    figure, panels = panel_per_budget([field for field, _ in panels_of], seen, 2.9, 2.6)
    names = sorted({variant for _, variants in panels_of for variant in variants})
    for axes, (field, variants) in zip(panels, panels_of, strict=True):
        of = dict(zip(field.variants, 100 * field.means, strict=True))
        for variant in variants:
            gain, style = of[variant] - of[base], dot(numbers[variant])
            known = ~np.isnan(gain) & ~np.isnan(of[alone])
            rho = spearmanr(of[alone][known], gain[known]).statistic if known.sum() > 2 else np.nan
            text = f"rho {rho:+.2f}" if not np.isnan(rho) else None
            dots = axes.plot(of[alone][known], gain[known], markersize=5, alpha=0.8, label=text, **style)[0]
            cases = [case for case, there in zip(field.cases, known, strict=True) if there]
            mark(dots, variant, *(f"{variant}, {case}: {points:+.1f}" for case, points in zip(cases, gain[known], strict=True)))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("DSC (%) of registration alone", fontsize="small")
        axes.set_ylabel(f"DSC points over {base}", fontsize="small")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="x-small", frameon=True, framealpha=0.7, handletextpad=0.1)
    legend(figure, names, dot, numbers)
    return figure
