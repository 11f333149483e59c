"""Made-up records in the shape that a store collects."""

import numpy as np
import pandas as pd

from benchmark.records.store import CASE_COLUMNS
from benchmark.records.table import Records

METRICS = {"dsc": 0.8, "hd95": 6.0, "assd": 1.5, "nsd": 0.7, "rve": 0.1, "hd95_legacy": 4.0, "missed": 0.0}


def cell(variant="cctr", labels=3, run=0, **changes):
    """The row of a finished cell."""
    return {
        "cell": f"{changes.get('dataset', 'phantom')}-{variant}-{labels}-{run}",
        "dataset": "phantom",
        "kind": "run",
        "method": variant.partition("[")[0],
        "variant": variant,
        "labels": labels,
        "draw": run,
        "seed": run,
        "protocol": "quick",
        "outcome": "done",
        "error": None,
        "seconds": 60.0,
        "parameters": 1_800_000,
        "passes": 2.0,
        "peak_memory_mb": 900.0,
        "steps": 500,
        "reported": "unet",
        "train_cases": 28,
        "val_cases": 4,
        "spacing_unit": "mm",
        "data_hash": "d0",
        "draw_hash": f"w{labels}-{run}",
        "protocol_hash": "p0",
        "code_hash": "c0",
    } | changes


def record(**changes):
    """As ``cell``, with the fields that stand in a record alone."""
    unknown = {"trial": None, "tuning": None, "hparams": {}, "labelled": [], "environment": {"revision": "0123"}, "command": ""}
    return cell() | unknown | changes


def failed(**changes):
    """The row of a failed cell: what is known only at the end is not there."""
    unknown = ("seconds", "parameters", "passes", "peak_memory_mb", "reported", "train_cases", "val_cases", "spacing_unit")
    row = cell(**changes) | {"outcome": "failed", "error": "RuntimeError: loss is nan"}
    return {key: value for key, value in row.items() if key not in unknown}


def scores(of, dsc, volumes=2, classes=("rv", "myo", "lv"), network="unet", test_set="test", selection="last", **metrics):
    """Long rows of a cell: ``dsc`` maps a case to its DSC in every volume and class."""
    return [
        dict(cell=of["cell"], test_set=test_set, case=case, volume=f"{case}_{v}", network=network, selection=selection)
        | {"class": name, "metric": metric, "value": value}
        for case, score in dsc.items()
        for v in range(volumes)
        for name in classes
        for metric, value in (METRICS | {"dsc": score} | metrics).items()
    ]


def make_records(cells, cases=()):
    """What ``Store.collect`` returns."""
    columns = list(cell()) if not cells else None
    return Records(pd.DataFrame(cells, columns=columns), pd.DataFrame(list(cases), columns=["cell", *CASE_COLUMNS]))


def made_up():
    """Two datasets, four methods, two budgets, tuned and untuned, one failed and one unfinished cell."""
    rng = np.random.default_rng(0)
    cells, rows = [], []
    for dataset in ("acdc", "phantom"):
        for level, variant in enumerate(["supervised", "cps", "mean_teacher", "cctr", "supervised (tuned)", "cctr (tuned)"]):
            for labels in (1, 7):
                for run in range(2):
                    kind = "tuned" if "tuned" in variant else "run"
                    spent = {"trials": 20, "steps": 8000, "seconds": 1800.0} if kind == "tuned" else None
                    looks = [[100, 0.2], [400, 0.4 + 0.05 * level]]
                    cells.append(cell(variant, labels, run, dataset=dataset, kind=kind, tuning=spent, looks=looks))
                    values = 0.3 + 0.08 * level + 0.02 * labels + rng.normal(0, 0.05, 8)
                    rows += scores(cells[-1], {f"case{i}": float(v) for i, v in enumerate(values)})
                    rows += scores(cells[-1], {f"case{i}": float(v) for i, v in enumerate(values)}, selection="val")
    cells.append(failed(variant="fixmatch", labels=1) | {"error": "RuntimeError: <b>loss</b> is nan"})
    cells.append(failed(variant="fixmatch", labels=7) | {"outcome": "unfinished", "error": None})
    return make_records(cells, rows)
