"""What a paper says of a comparison: methods, results, references and a checklist, as LaTeX and BibTeX."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from reports.tables.comparable import rows_of, titled
from reports.tables.comparison import EQUIVALENT, OPEN, UNTESTED, Field, baseline_of
from reports.tables.escaping import in_latex

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.records.table import Records

FILE = Path(__file__).with_name("references.yaml")
THIS, PACKAGE = "thisbenchmark", "ssl-medseg-benchmark"
TITLE = "A benchmark of semi-supervised medical image segmentation with very few labelled cases"
AUTHORS = "(to be filled in by the authors)"


@functools.cache
def references() -> dict[str, Any]:
    """``references.yaml``."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def bibtex(cells: pd.DataFrame) -> str:
    """Entries of the methods and datasets that stand in the records, of what the sentences cite, and of this benchmark."""
    known = references()
    keys = [key for kind in ("method", "dataset") for name in sorted(cells[kind].unique()) if (key := _key(kind, name))]
    lines = []
    for key in sorted({*keys, *known["always"]}):
        entry = dict(known["entries"][key])
        kind = entry.pop("type")
        fields = ",\n".join(f"  {name} = {{{_title(name, str(value))}}}" for name, value in entry.items())
        lines.append(f"@{kind}{{{key},\n{fields}\n}}\n")
    return "\n".join([*lines, cited(cells)])


def cited(cells: pd.DataFrame) -> str:
    """The entry of this benchmark, with the code that made the records."""
    note = in_latex(f"{PACKAGE}; code {', '.join(sorted(cells['code_hash'].dropna().unique()))}")
    return f"@misc{{{THIS},\n  title = {{{TITLE}}},\n  note = {{{note}}}\n}}\n"


def _title(name: str, value: str) -> str:
    return f"{{{value}}}" if name == "title" else value  # a second pair of braces keeps capitals


def _key(kind: str, name: str) -> str | None:
    found: str | None = references()[f"{kind}s"].get(name)
    return found


def _cited(kind: str, name: str) -> str:
    key = _key(kind, name)
    return in_latex(name) + (rf"~\cite{{{key}}}" if key else "")


def methods_paragraph(records: Records, found: list[Field], margin: float) -> str:
    """How the comparison was made, a paragraph for each dataset and protocol, and one on statistics."""
    cells = records.without_trials().cells
    cells = cells.assign(title=titled(cells))
    paragraphs = []
    for key, part in cells.groupby(["dataset", "protocol"], sort=True):
        dataset = str(key[0])
        done = part[part["outcome"] == "done"]
        names = sorted(part["method"].unique())
        finished = [_cited("method", str(name)) for name in names if name in set(done["method"])]
        never = [_cited("method", str(name)) for name in names if name not in set(done["method"])]
        sizes = done.reindex(columns=["train_cases", "val_cases"]).dropna()
        data = (
            f" ({_counts(sizes['train_cases'])} training and {_counts(sizes['val_cases'])} validation cases)"
            if len(sizes)
            else ""
        )
        budgets = ", ".join(str(labels) for labels in sorted(part["labels"].unique()))
        steps = ", ".join(str(steps) for steps in sorted(part["steps"].unique()))
        runs = sorted({(int(draw), int(seed)) for draw, seed in zip(done["draw"], done["seed"], strict=True)})
        draws, seeds = len({draw for draw, _ in runs}), len({seed for _, seed in runs})
        tests = {field.section[3]: len(field.cases) for field in found if field.section[:2] == key}
        tested = " and ".join(f"{count} cases ({in_latex(name)})" for name, count in sorted(tests.items()))
        paragraphs.append(
            rf"With the benchmark of~\cite{{{THIS}}} we compared {', '.join(finished) or 'nothing so far'} on"
            f" {_cited('dataset', dataset)}{data} with {budgets} labelled cases, under its protocol {in_latex(part['title'].iloc[0])}"
            f" ({steps} training steps, the same for every method that trains, as are batches, augmentation and labelled cases), in"
            f" {len(runs)} run{'s' * (len(runs) != 1)} ({draws} draw{'s' * (draws != 1)} of labelled cases,"
            f" {seeds} seed{'s' * (seeds != 1)})."
            + (f" No run of {', '.join(never)} was finished." if never else "")
            + (f" Tests are on {tested}, read once, after training; weights are the last ones." if tests else "")
        )
    paragraphs.append(
        "We report the Dice similarity coefficient (DSC), the normalised surface distance (NSD), the 95th percentile of the Hausdorff"
        r" distance (HD95) and the average symmetric surface distance (ASSD), chosen after~\cite{maierhein2024metrics}, in 3-D on each"
        " volume's own grid, averaged over classes, volumes of a case, cases and runs. A structure in only one of prediction and truth"
        " scores DSC 0 and the volume's diagonal as distance; one in neither has no distance. Intervals (95\\,\\%) and tests come from a"
        " two-way random-effects analysis of runs and cases, with the variance of runs moderated by that pooled over the methods of a"
        r" budget~\cite{smyth2004} and approximate degrees of freedom; $p$ values are adjusted over methods~\cite{holm1979}. Methods"
        rf" count as equivalent where two one-sided tests~\cite{{schuirmann1987}} place their difference within {margin:g} DSC points."
        " One run is not tested."
    )
    return "\n\n".join(paragraphs) + "\n"


def _counts(values: pd.Series) -> str:
    return " or ".join(f"{count:.0f}" for count in sorted(values.unique()))


def results_sentences(board: pd.DataFrame, found: list[Field], baseline: str, margin: float) -> str:
    """A paragraph for each budget: the best method with its interval, and its difference from the baseline with the verdict."""
    rows: dict[tuple[Any, ...], Any] = {
        (r.dataset, r.protocol, r.kind, r.test_set, r.labels, r.variant): r for r in rows_of(board)
    }
    paragraphs = []
    for field in (field.ranked for field in found if field.ranked.variants):
        name = baseline_of(baseline, field.section)
        best = next((variant for variant in field.variants if variant != name), name)
        scores = [_score(rows[*field.section, field.labels, variant]) for variant in (best, name) if variant in field.variants]
        where = f"{in_latex(field.section[0])}, {in_latex(field.section[3])}, protocol {in_latex(field.section[1])}"
        where += ", tuned hyper-parameters" if field.section[2] == "tuned" else ""
        labels = f"{field.labels} labelled case{'s' * (field.labels != 1)}"
        start = f"With {labels} ({where}; {len(field.cases)} cases, {in_latex(field.runs_in_words)})"
        text = f"{start}, {' and '.join(dict.fromkeys(scores))}."
        for row in rows_of(field.against(name, margin)):
            if row.variant == best:
                text += f" The difference was {_points(row)}: {_verdict(row, margin)}."
        paragraphs.append(text)
    return "\n\n".join(paragraphs) + "\n"


def _score(row: Any) -> str:
    interval = ""
    if not math.isnan(row.dsc_low):
        over = "over cases only" if row.units == 1 else "over runs and cases"
        interval = rf" (95\,\% CI {100 * row.dsc_low:.1f} to {100 * row.dsc_high:.1f}, {over})"
    return rf"{in_latex(row.variant)} reached a DSC of {100 * row.dsc:.1f}\,\%{interval}"


def _points(row: Any) -> str:
    low, high = (f"${100 * end:+.1f}$" for end in (row.shift_low, row.shift_high))
    ends = "" if math.isnan(row.shift_low) else f" ({low} to {high})"
    return f"${100 * row.shift:+.1f}$ points{ends}"


def _verdict(row: Any, margin: float) -> str:
    if row.verdict == UNTESTED:
        return "one run cannot be tested"
    p = "$p < 0.001$" if row.p < 0.001 else f"$p = {row.p:.2g}$" if row.p >= 0.01 else f"$p = {row.p:.3f}$"
    words = {EQUIVALENT: f"equivalent within {margin:g} points", OPEN: f"the two cannot be told apart ({p})"}
    return words.get(row.verdict, f"{row.verdict} ({p})")


def checklist(records: Records, found: list[Field]) -> str:
    """Items after Metrics Reloaded and CLAIM with what records know of them; the rest is left to the authors, and says so."""
    cells = records.without_trials().cells
    counts = cells["outcome"].value_counts()
    outcomes = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("done", "failed", "unfinished"))
    unconverged = [variant for field in found for variant in field.unconverged]
    hashes = "; ".join(
        f"{name} {', '.join(sorted(map(str, cells[column].dropna().unique())))}"
        for name, column in (("data", "data_hash"), ("protocol", "protocol_hash"), ("code", "code_hash"))
    )
    items = [
        ("Problem category", "semantic segmentation of 3-D volumes, one label a voxel"),
        ("Clinical question, intended use", AUTHORS),
        ("Data: source", in_latex(", ".join(sorted(cells["dataset"].unique())))),
        ("Data: eligibility, demographics, ethics", AUTHORS),
        ("Reference standard", "the labels of the dataset as published; who drew them: " + AUTHORS),
        ("Partitions", "training, validation and test disjoint by case; no image in two of them"),
        (
            "Labelled cases",
            in_latex(
                "budgets " + ", ".join(map(str, sorted(cells["labels"].unique()))) + "; which ones: records, field labelled"
            ),
        ),
        ("Training", "steps, batches and augmentation fixed by the protocol; details in each record"),
        ("Choice of hyper-parameters", in_latex(_hparams(cells))),
        ("Choice of the final model", "last weights; those best on validation cases are reported beside them"),
        ("Use of test cases", "read once, after training"),
        ("Metrics: overlap", "DSC"),
        ("Metrics: boundary", "NSD, HD95, ASSD, on each volume's own grid"),
        ("Metrics: aggregation", "mean over classes, volumes of a case, cases, runs; single classes in metrics.csv"),
        ("Metrics: empty structures", "in one of prediction and truth: DSC 0, distance the diagonal; in neither: no distance"),
        ("Uncertainty", "95\\,\\% intervals over runs and cases; over cases only where one run is done"),
        ("Multiple comparisons", "Holm over the methods of a budget; not over budgets, metrics and classes"),
        ("Ranking", "several side by side, with ranges: rankings.csv"),
        ("Failed and missing runs", in_latex(outcomes) + "; rows that lack runs are put on the scale of all runs"),
        (
            "Not converged",
            in_latex(", ".join(dict.fromkeys(unconverged))) + "; in no rank and no comparison" if unconverged else "none",
        ),
        ("Reproducibility", in_latex(hashes)),
        ("Limitations, conflicts of interest", AUTHORS),
    ]
    rows = [rf"{item} & {answer} \\" for item, answer in items]
    head = [r"\begin{longtable}{p{0.3\textwidth}p{0.63\textwidth}}", r"\toprule", r"Item & Answer \\", r"\midrule", r"\endhead"]
    return "\n".join([*head, *rows, r"\bottomrule", r"\end{longtable}", ""])


def _hparams(cells: pd.DataFrame) -> str:
    tuned = sorted(cells.loc[cells["kind"] == "tuned", "variant"].unique())
    return "published values" + (f"; tuned on the validation cases, with equal trials: {', '.join(tuned)}" if tuned else "")


DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{booktabs,longtable}
\begin{document}
\section*{Methods}
\input{methods}
\section*{Results}
\input{results}
\section*{Checklist, after Metrics Reloaded~\cite{maierhein2024metrics} and CLAIM~\cite{mongan2020claim}}
\input{checklist}
\bibliographystyle{plain}
\bibliography{references}
\end{document}
"""
