"""Write into the pages that quote results what the records in docs/results say: `make results`; a test holds that nothing is stale.

A page names what belongs into it: ``<!-- table of STORE -->``, ``<!-- effects of STORE -->`` or ``<!-- findings of STORE -->``, up to
``<!-- end -->``. The figure of label efficiency of each store of which there are findings is docs/pictures/STORE.svg.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmark.records.ablations import remembered
from benchmark.records.store import Store
from benchmark.records.table import Records, collect
from reports.tables.ablation import effects, unit_of
from reports.tables.ablation import to_markdown as effects_page
from reports.tables.leaderboard import leaderboard
from reports.tables.leaderboard_forms import to_markdown
from reports.writing.leaderboard import write_label_efficiency

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PICTURES = ROOT / "docs" / "results", ROOT / "docs" / "pictures"
PAGES = (ROOT / "README.md", RESULTS / "README.md")
PLACE = re.compile(r"(<!-- (table|effects|findings) of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
BUDGETS = (1, 3, 7)
IN_WORDS = {
    "cctr": "CCT-R",
    "label_propagation": "labels that registration alone carries over",
    "cross_teaching": "cross-teaching",
    "unimatch": "UniMatch",
    "mean_teacher": "mean teacher",
    "supervised": "supervised-only",
}
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
def figure_of(store: str) -> bytes:
    """The figure of label efficiency, SVG, of the methods of IN_WORDS."""
    records = records_of(store)
    few = records.select(records.cells["variant"].isin(list(IN_WORDS)) & records.cells["labels"].isin(BUDGETS))
    with TemporaryDirectory() as folder:
        files = write_label_efficiency(leaderboard(few), Path(folder))
        return next(file.read_bytes() for file in files if file.suffix == ".svg")


def _table(store: str) -> str:
    return to_markdown(leaderboard(records_of(store))).removeprefix("# Leaderboard\n").replace("\n## ", "\n### ")


def _effects(store: str) -> str:
    records, parts = records_of(store), []
    for ablation in remembered(Store(RESULTS / store), tell=print):
        text = effects_page(effects(records, ablation.design), ablation.design, unit_of(records))
        parts.append(text.replace("\n## ", "\n#### ").replace("# Ablation", "### Ablation", 1))
    return "\n".join(parts)


def _findings(store: str) -> str:
    records = records_of(store)
    table = leaderboard(records)
    scores = table.set_index(["variant", "labels"])["dsc"].mul(100).to_dict()
    every = max(labels for variant, labels in scores if variant == "supervised")
    methods, controls = (
        "; ".join(f"{words} {_at_budgets(variant, scores)}" for variant, words in told.items()) for told in (IN_WORDS, CONTROLS)
    )
    sentences = [
        f"With 1, 3 and 7 of {every} patients labelled, mean DSC (%) on the test patients: {methods};"
        f" supervised with all {every}: {scores['supervised', every]:.1f}.",
        f"Controls of what it is that helps, likewise: {controls}.",
        *(_of_parts(records, effects(records, one.design)) for one in remembered(Store(RESULTS / store), tell=print)),
        "This is one run on CPU cores: training again, or labelling other patients, may turn any of it.",
    ]
    return "".join(f"- {sentence}\n" for sentence in sentences)


def _at_budgets(variant: str, scores: dict[tuple[str, int], float]) -> str:
    known = [scores.get((variant, labels), float("nan")) for labels in BUDGETS]
    return ", ".join("to do" if pd.isna(score) else f"{score:.1f}" for score in known)


def _of_parts(records: Records, table: pd.DataFrame) -> str:
    parts = []
    for term, words in (("rsl", "RSL"), ("reps", "REPS")):
        rows = table[table["term"] == term].sort_values("labels")
        told = [
            f"{100 * r['dsc']:+.1f} [{100 * r['dsc_low']:+.1f}, {100 * r['dsc_high']:+.1f}] with {r['labels']}"
            for r in rows.to_dict("records")
        ]
        parts.append(f"{words} {', '.join(told)}")
    return f"What the parts of CCT-R add, in points, with 95 % intervals over the test patients: {'; '.join(parts)} labelled."


PARTS: dict[str, Callable[[str], str]] = {"table": _table, "effects": _effects, "findings": _findings}


if __name__ == "__main__":
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(rewritten(text), encoding="utf-8")
        for picture, content in figures(text).items():
            picture.write_bytes(content)
