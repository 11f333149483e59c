"""Cases for pictures: the networks of finished cells segment the test cases on which two methods differ most, least and in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from benchmark.cell.evaluation import predict
from benchmark.cell.experiment import finished_method
from benchmark.ground.errors import BadInput
from benchmark.records.identity import Cell
from benchmark.records.schema import BadRecord
from benchmark.records.store import WEIGHTS, CellFolder, Store
from benchmark.records.table import Records
from datasets.dataset import Volume
from reports.figures.overlays import Example, Overlay
from reports.tables.comparable import rows_of
from reports.tables.comparison import Field, baseline_of, fields

CPU = torch.device("cpu")


def overlays(records: Records, stores: Sequence[Store], baseline: str) -> Iterator[Overlay]:
    """For every budget of every section: the best variant beside the baseline (or the second best) on three cases of their first run.

    The cases are those where the difference in DSC is largest, the median, and smallest, in the volume and slice with most of the truth.
    Of a cross-validation there is none, for each of its cases belongs to other networks.

    Raises:
        BadInput: a store no longer holds a cell's weights, or the dataset that it was trained on.
    """
    for field in fields(records):
        base = baseline_of(baseline, field.section)
        others = [variant for variant in field.variants if variant != base]
        pair = [*others[:1], *([base] if base in field.variants else others[1:2])]
        if len(pair) == 2 and not field.folds and (found := _overlay(field, pair, records.cells, stores)):
            yield found


def _overlay(field: Field, pair: list[str], cells: pd.DataFrame, stores: Sequence[Store]) -> Overlay | None:
    scores = np.stack([field.scores[field.variants.index(variant)] for variant in pair])
    both = np.flatnonzero(~np.isnan(scores).any((0, 2)))
    if not len(both):
        return None
    run = field.runs[both[0]]
    difference = scores[0, both[0]] - scores[1, both[0]]
    order = np.argsort(-difference, kind="stable")
    chosen = {"most for": order[0], "median for": order[len(order) // 2], "least for": order[-1]}
    trained = {}
    for variant in pair:
        cell, store = _cell(field, variant, run, cells, stores)
        method, dataset = finished_method(cell, store)
        trained[variant] = method
    examples = []
    for text, at in chosen.items():
        volume = max(dataset.read(field.cases[at], labels=True), key=_structures)
        assert volume.label is not None
        plane = int(np.count_nonzero(volume.label, axis=(1, 2)).argmax())
        masks = {v: next(predict(m, [volume], cell.protocol, CPU, reported_only=True)) for v, m in trained.items()}
        predictions = {variant: next(iter(found.values()))[plane] for variant, found in masks.items()}
        title = f"{text} {pair[0]}: {field.cases[at]}\n{100 * difference[at]:+.1f} DSC points"
        examples.append(Example(title, volume.image[0, plane], volume.label[plane], predictions))
    draw, seed = run
    caption = (
        f"{field.labels} labelled, draw {draw}, seed {seed}: the cases where {pair[0]} gains most, the median and least over {pair[1]};"
        " the slice with most of the truth. These are images of patients unless the data is made up."
    )
    return Overlay(field.section, f"cases-{field.labels}", caption, dataset.classes, examples)


def _structures(volume: Volume) -> int:
    return 0 if volume.label is None else int(np.count_nonzero(volume.label))


def _cell(field: Field, variant: str, run: tuple[int, int], cells: pd.DataFrame, stores: Sequence[Store]) -> tuple[Cell, Store]:
    """The cell of a run, and the store that holds it."""
    dataset, protocol, kind, _ = field.section
    where = {"dataset": dataset, "protocol": protocol, "kind": kind, "variant": variant, "labels": field.labels}
    where |= {"draw": run[0], "seed": run[1], "outcome": "done"}
    (row,) = rows_of(cells[np.logical_and.reduce([cells[key] == value for key, value in where.items()])])
    for store in stores:
        folder = CellFolder(store.root / row.dataset / row.method / row.cell)
        if folder.done("cell.json", WEIGHTS):
            with contextlib.suppress(BadRecord):  # of another version
                return folder.cell(), store
    raise BadInput(
        f"--overlays: no store holds the weights of {row.cell} ({variant}) whole and readable; expected them; run it again"
    )
