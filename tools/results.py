"""Write into the pages that quote results what the records in docs/results say: `make results`; a test holds that nothing is stale.

A page names what belongs into it, ``<!-- PART of STORE -->`` up to ``<!-- end -->``, where PART is findings, verdicts, summary, runs or
published. The figure of label efficiency of each store of which there are findings is docs/pictures/STORE.svg. The report of each store is
beside its records, where ``python -m benchmark report --store docs/results/STORE`` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from benchmark.records.ablations import Ablation, remembered
from benchmark.records.store import Store
from benchmark.records.table import Records, collect
from reports.page.words import in_words
from reports.tables.ablation import effects
from reports.tables.comparable import rows_of
from reports.tables.comparison import BASELINE, Field, fields
from reports.tables.escaping import in_markdown
from reports.tables.label_equivalence import in_words as worth_in_words
from reports.tables.label_equivalence import label_equivalence
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import COLUMNS, marks_of, sections_of
from reports.tables.published import SURE, published_for
from reports.tables.wording import LACKING, MARK, cases_only
from reports.writing.leaderboard import write_label_efficiency
from reports.writing.report import write_report

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PICTURES = ROOT / "docs" / "results", ROOT / "docs" / "pictures"
STORES = ("acdc_desk", "acdc_wide", "hippocampus_desk")
PAGES = (ROOT / "README.md", RESULTS / "README.md")
PLACE = re.compile(r"(<!-- (findings|verdicts|summary|runs|published) of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BUDGETS = (1, 3, 7)
DSC = next(column for column in COLUMNS if column.header == "DSC %")
IN_WORDS = {
    "cctr": "CCT-R",
    "label_propagation": "labels that registration alone carries over",
    "cross_teaching": "cross-teaching",
    "unimatch": "UniMatch",
    "mean_teacher": "mean teacher",
    "supervised": "supervised-only",
}
WORTH = ("cctr", "label_propagation")
"""Whose scores are told in labels of supervised-only, too."""

ONE_RUN = "With {} labelled this is one run on CPU cores: training again, or labelling other patients, may turn any of it."
MARKS = {
    MARK: f"{MARK}: in some run a structure is never found, so it has not converged at this length, and is in no rank and no comparison.",
    LACKING: f"{LACKING}: lacks runs that others have done, and stands on the scale of all.",
}

BRACKETS = (
    "In brackets: 95 % intervals over runs and test patients; in parentheses: of one run, over test patients alone, which say nothing of"
    " training again."
)

CONTROLS = {
    "mean_teacher[rsl=true]": "mean teacher with RSL",
    "cps": "CPS",
    "cps[rsl=true]": "CPS with RSL",
    "cctr[registration=identity]": "CCT-R with labels copied over unregistered",
    "supervised[augmentation=strong]": "supervised-only with strong augmentation",
}
"""What tells registration from the method around it."""


def rewritten(text: str) -> str:
    """The page's text with each part as its records give it now."""
    return PLACE.sub(lambda place: place[1] + PARTS[place[2]](place[3]) + place[4], text)


def figures(text: str) -> dict[Path, bytes]:
    """The pictures that the page asks for, by their files."""
    stores = {place[3] for place in PLACE.finditer(text) if place[2] == "findings"}
    return {PICTURES / f"{store}.svg": figure_of(store) for store in sorted(stores)}


@cache
def records_of(store: str) -> Records:
    """What the store of this name holds."""
    return collect(Store(RESULTS / store))


@cache
def fields_of(store: str) -> list[Field]:
    """What can be compared in the store of this name."""
    return list(fields(records_of(store)))


def ablations_of(store: str) -> list[Ablation]:
    """The ablations that the store of this name remembers."""
    return list(remembered(Store(RESULTS / store), tell=print))


def write_report_of(store: str, out: Path) -> None:
    """Write the report of the store of this name, in place of what was there; of each figure, the one that scales."""
    rmtree(out, ignore_errors=True)
    write_report(records_of(store), out, ablations=ablations_of(store))
    for picture in out.rglob("*.png"):  # the same once more, and two thirds of the bytes
        picture.unlink()


@cache
def figure_of(store: str) -> bytes:
    """The figure of label efficiency, SVG, of the methods of IN_WORDS."""
    records = records_of(store)
    few = records.select(records.cells["variant"].isin(list(IN_WORDS)) & records.cells["labels"].isin(BUDGETS))
    with TemporaryDirectory() as folder:
        files = write_label_efficiency(leaderboard(few), Path(folder))
        return next(file.read_bytes() for file in files if file.suffix == ".svg")


def _summary(store: str) -> str:
    """Of each section a table of DSC, a row a method and a column a budget, those that have run with all first, best first."""
    told = IN_WORDS | CONTROLS
    lines = []
    for title, rows in sections_of(leaderboard(records_of(store))):
        budgets = sorted({row.labels for row in rows})
        scores = {(row.variant, row.labels): f"{DSC.text(row)}{_ends(row)}" for row in rows}
        lines += [
            f"DSC in %, {in_markdown(title)}:",
            "",
            f"| Method | {' | '.join(f'{labels} labelled' for labels in budgets)} |",
        ]
        lines += [f"|:---|{'---:|' * len(budgets)}"]
        for variant in _in_order(rows):
            words = f": {told[variant]}" if variant in told else ""
            cells = " | ".join(in_markdown(scores.get((variant, labels), "")) for labels in budgets)
            lines.append(f"| `{variant}`{words} | {cells} |")
        marks = [line for line in marks_of(rows) if not line.startswith(LACKING)]  # which rows lack runs, their scores say
        marks += [MARKS[LACKING]] if any(row.runs_lacking > 0 for row in rows) else []
        lines += ["", *(f"- {in_markdown(line)}" for line in marks), *([""] if marks else [])]
    return "\n".join([*lines, BRACKETS, ""])


def _ends(row: Any) -> str:
    """The interval, in brackets where it is over runs and cases."""
    low, high = (f"{100 * end:.1f}" for end in (row.dsc_low, row.dsc_high))
    return "" if pd.isna(row.dsc_low) else f" ({low} to {high})" if row.units == 1 else f" [{low}, {high}]"


def _in_order(rows: list[Any]) -> list[str]:
    """Variants: those with few scores of BUDGETS last, else by the mean of these."""
    table = pd.DataFrame([(row.variant, row.labels, row.dsc) for row in rows], columns=["variant", "labels", "dsc"])
    few = table.assign(dsc=table["dsc"].where(table["labels"].isin(BUDGETS)))
    found = few.groupby("variant", sort=False)["dsc"].agg(["count", "mean"])
    return list(found.sort_values(["count", "mean"], ascending=False, kind="stable").index.astype(str))


def _runs(store: str) -> str:
    """Of the methods that have run more than once, as ordered in the summary: what each had in every run of a budget."""
    told = [field for field in fields_of(store) if field.labels in BUDGETS]
    texts = {
        (variant, field.labels): ", ".join("–" if pd.isna(score) else f"{100 * score:.1f}" for score in scores)
        for field in told
        for variant, scores, done in zip(field.variants, field.scores.mean(2), field.done.sum(1), strict=True)
        if done > 1
    }
    header = [f"{field.labels} labelled, runs {', '.join(str(draw) for draw, _ in field.runs)}" for field in told]
    lines = [f"| Method | {' | '.join(header)} |", f"|:---|{'---:|' * len(header)}"]
    for variant in _in_order(list(rows_of(leaderboard(records_of(store))))):
        if any((variant, field.labels) in texts for field in told):
            lines.append(f"| `{variant}` | {' | '.join(texts.get((variant, field.labels), '') for field in told)} |")
    return "\n".join([*lines, ""])


def _findings(store: str) -> str:
    records = records_of(store)
    table = leaderboard(records)
    once = [str(field.labels) for field in fields_of(store) if len(field.runs) == 1 and field.labels in BUDGETS]
    scores = {(row.variant, row.labels): DSC.text(row) for row in rows_of(table) if not pd.isna(row.dsc)}
    every = max(labels for variant, labels in scores if variant == "supervised")
    methods, controls = (
        "; ".join(f"{words} {', '.join(scores.get((variant, n), 'to do') for n in BUDGETS)}" for variant, words in told.items())
        for told in (IN_WORDS, CONTROLS)
    )
    worth = {(row.variant, row.labels): worth_in_words(row) for row in rows_of(label_equivalence(fields_of(store), BASELINE))}
    worths = "; ".join(f"{IN_WORDS[one]} {', '.join(worth.get((one, n), 'to do') for n in BUDGETS)}" for one in WORTH)
    sentences = [
        f"With 1, 3 and 7 of {every} patients labelled, mean DSC (%) on the test patients: {methods};"
        f" supervised with all {every}: {scores['supervised', every]}.",
        f"So many labels would supervised-only need for as much, likewise: {worths}.",
        f"Controls of what it is that helps, likewise: {controls}.",
        *(_of_parts(effects(records, one.design)) for one in ablations_of(store)),
        *([ONE_RUN.format(" and ".join(once))] if once else []),
        *(said for mark, said in MARKS.items() if mark in methods + controls),
    ]
    return "".join(f"- {sentence}\n" for sentence in sentences).replace(MARK, rf"\{MARK}")


def _of_parts(table: pd.DataFrame) -> str:
    """What RSL and REPS add, of a table of effects."""
    parts, alone = [], (table["units"] == 1).all()
    for term, words in (("rsl", "RSL"), ("reps", "REPS")):
        rows = table[table["term"] == term].sort_values("labels").to_dict("records")
        told = [f"{_interval(row)}{'' if alone else cases_only(row['units'])} with {row['labels']}" for row in rows]
        parts.append(f"{words} {', '.join(told)}")
    over = "the test patients alone" if alone else "runs and test patients"
    return f"What the parts of CCT-R add, in points, with 95 % intervals over {over}: {'; '.join(parts)} labelled."


def _interval(row: dict[Hashable, Any]) -> str:
    value, low, high = (f"{100 * row[f'dsc{end}']:+.1f}" for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _verdicts(store: str) -> str:
    """What the data can and cannot support, as the report says it."""
    return "".join(f"- {sentence}\n" for sentence in in_words(fields_of(store), BASELINE))


def _published(store: str) -> str:
    """Every published number of the methods that ran, with what keeps it from being held against ours."""
    header = ["Labels", "Method", "DSC % here", "Published", "Of", "Weights", "Where it stands", "Held against ours"]
    lines = [header, ["---:", ":---", "---:", "---:", ":---", ":---", ":---", ":---"]]
    for row in rows_of(leaderboard(records_of(store))):
        ours = "to do" if pd.isna(row.dsc) else f"{100 * row.dsc:.1f}"
        for number in published_for(row):
            source = number.source + SURE[number.confidence]
            told = [number.variant, number.selection, source, number.verdict(row)]
            lines.append([str(row.labels), row.variant, ours, f"{number.dsc:g}", *told])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PARTS: dict[str, Callable[[str], str]] = {
    "findings": _findings,
    "verdicts": _verdicts,
    "summary": _summary,
    "runs": _runs,
    "published": _published,
}


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(rewritten(text), encoding="utf-8")
        for picture, content in figures(text).items():
            picture.write_bytes(content)
    for store in STORES:
        write_report_of(store, Store(RESULTS / store).report)
