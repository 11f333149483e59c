"""A model card (Mitchell et al., FAccT 2019), made from records: what a packaged model is, learnt from, scored, and is not good for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.tables.by_metric import ALL_CLASSES, by_metric
from reports.tables.comparable import rows_of
from reports.tables.escaping import in_markdown

if TYPE_CHECKING:
    from benchmark.records.table import Records

LIMITS = """- It is a research model: no medical device, not for diagnosis or treatment. A person must look at every mask.
- It was trained and tested on the data above alone. Other scanners, protocols, populations and diseases are unknown to it; `predict`
  refuses scans whose spacing, extent or intensities lie far beyond those of training, and cannot notice anything subtler.
- Its networks see slices one by one, of the size above: what the resizing loses, they cannot find.
- With so few labelled cases, another draw of them may give another model: the intervals say how far scores move.
"""


@dataclass(frozen=True)
class Facts:
    """What a card says besides scores. classes: name -> value in masks. seen: by what is measured, its range over training volumes."""

    dataset: str
    cases: str
    licence: str
    data_hash: str
    described: tuple[str, ...]
    classes: dict[str, int]
    seen: dict[str, tuple[float, float]]
    largest: tuple[str, ...]
    cells: tuple[str, ...]
    code: tuple[str, ...]
    hparams: dict[str, Any]
    rules: dict[str, Any]


def model_card(facts: Facts, records: Records, place: dict[str, Any], variant: str) -> str:
    """The card, Markdown. place: dataset, protocol, kind and labels of the runs whose scores it shows; records: of the whole store."""
    where = records.cells["outcome"].eq("done")
    for key, value in place.items():
        where &= records.cells[key] == value
    mine = records.select(where)
    table, never = by_metric(mine, variant), _never_found(mine.cells[mine.cells["variant"] == variant])
    shown = "variant" if place["kind"] == "run" else "tuned variant"
    scores = table[table["variant"].isin([variant, f"{variant} (tuned)"])]
    values = ", ".join(f"{value} = {name}" for name, value in facts.classes.items())
    lines = [
        f"# {in_markdown(variant)}, {place['labels']} labelled cases of {facts.dataset}",
        "",
        f"Made by `python -m benchmark package` from the records of {_count(len(facts.cells), 'cell')}; {shown} "
        f"`{variant}`, protocol `{place['protocol']}`. Use: `python -m benchmark predict --model FOLDER --images SCANS --out MASKS`.",
        "",
        "## What it does",
        "",
        f"Segments scans like those of {facts.dataset}. Values in its masks: {values}.",
        *(
            [f"With --largest-component, of {', '.join(facts.largest)} the largest part alone is kept."]
            if facts.largest
            else []
        ),
        "",
        "## Data",
        "",
        f"- {facts.dataset}: {facts.cases} cases; {place['labels']} of the training cases were labelled, the others trained without masks",
        f"- licence of the data: {facts.licence}; whether it binds the model is for its user to find out",
        f"- hash of the data: `{facts.data_hash}`",
        *[f"- {in_markdown(fact)}" for fact in facts.described],
        *[f"- {name} of training volumes: {low:.4g} to {high:.4g}" for name, (low, high) in facts.seen.items()],
        "",
        "## Rules",
        "",
        *[f"- {in_markdown(cell)} (code `{code}`)" for cell, code in zip(facts.cells, facts.code, strict=True)],
        f"- hyper-parameters: {_listed(facts.hparams)}",
        f"- protocol: {_listed(facts.rules)}",
        "",
        "## Scores",
        "",
        "Of single runs, last weights, on cases that no training saw; with 95 % intervals over runs and cases, of one run over cases alone."
        + (" An average of several runs, as this is, was not scored itself." if len(facts.cells) > 1 else ""),
        "",
        *(
            [f"**Not converged**: some run never finds {never} on the validation cases, though it is there.", ""]
            if never
            else []
        ),
        _table(scores),
        "",
        "## Limits",
        "",
        LIMITS,
    ]
    return "\n".join(lines)


def _never_found(cells: pd.DataFrame) -> str:
    """The classes that some run never predicts on the validation cases."""
    found = cells.get("never_predicted", ())
    return ", ".join(dict.fromkeys(name for names in found if isinstance(names, list) for name in names))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in values.items()) or "none"


def _table(scores: pd.DataFrame) -> str:
    head = "| Test set | Metric | Class | Mean | 95 % interval | Runs | Cases |\n|:---|:---|:---|---:|:---|---:|---:|"
    rows = [
        f"| {row.test_set} | {row.metric} | {in_markdown('all' if row.of == ALL_CLASSES else row.of)} | {row.mean:.3f} |"
        f" [{row.low:.3f}, {row.high:.3f}] | {row.runs} | {row.cases} |"
        for row in rows_of(scores.rename(columns={"class": "of"}))
    ]
    return "\n".join([head, *rows]) if rows else "None: no run of it was scored on test cases."
