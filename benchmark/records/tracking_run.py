"""What an MLflow run of a cell holds: params, metrics over steps, scores, the split as a dataset, files and the training curve."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.ground.redaction import for_records
from benchmark.records.scores import mean_scores
from benchmark.records.store import CellFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS = ("seconds", "parameters", "passes", "peak_memory_mb", "best_step", "validation")
AT_ONCE = 900
"""Metrics sent in one request; MLflow takes 1,000 of everything together."""

LONGEST_DIGEST, LONGEST_NAME, LONGEST_VALUE = 36, 250, 500
"""What MLflow takes of a dataset's digest, of names, and, in some versions, of a param's value."""


def log_cell(client: Any, run: str, folder: CellFolder, record: dict[str, Any], ended: int) -> None:
    """Fill a run with what a cell's folder holds. ended: when the cell ended, ms since 1970."""
    import mlflow
    from mlflow.entities import DatasetInput, InputTag, Metric

    settings = record["hparams"] | {key: record[key] for key in ("dataset", "method", "labels", "draw", "seed", "steps")}
    split = pd.DataFrame({"case": record["labelled"], "use": "labelled"})
    digest = record["data_hash"][:LONGEST_DIGEST]
    dataset = mlflow.data.from_pandas(split, name=record["dataset"], digest=digest)._to_mlflow_entity()
    client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    metrics = []
    if record["outcome"] == "done":
        metrics = [Metric(key, float(record[key]), ended, 0) for key in NUMBERS if record.get(key) is not None]
        metrics += [Metric(_name("/".join(key)), value, ended, 0) for key, value in mean_scores(folder, record).items()]
        history = pd.read_csv(folder.path / "history.csv")
        if len(history):  # a method without training has none
            points = curve_points(history, ended, record.get("seconds") or 0.0)
            metrics += [Metric(_name(name), value, when, step) for name, value, when, step in points]
            client.log_figure(run, curves(history), "training.png")
        client.log_artifact(run, str(folder.path / "cases.csv"))
    client.log_text(run, for_records((folder.path / "record.json").read_text(encoding="utf-8")), "record.json")
    _log(client, run, settings, metrics)


def log_values(client: Any, run: str, params: dict[str, Any], metrics: dict[str, float]) -> None:
    """Put params and metrics into a run. A param that is there keeps its value, for MLflow's never change: a tag of its name has
    the new one.
    """
    import time

    from mlflow.entities import Metric

    known = client.get_run(run).data.params
    _log(client, run, {key: value for key, value in params.items() if _name(key) not in known}, [])
    for key, value in params.items():
        if known.get(_name(key), str(value)) != str(value):
            client.set_tag(run, _name(key), str(value)[:LONGEST_VALUE])
    now = int(time.time() * 1000)
    _log(client, run, {}, [Metric(_name(key), value, now, 0) for key, value in metrics.items()])


def _log(client: Any, run: str, params: dict[str, Any], metrics: list[Any]) -> None:
    """Params and metrics in as many requests as it takes."""
    from mlflow.entities import Param

    made = [Param(_name(key), str(value)[:LONGEST_VALUE]) for key, value in params.items()]
    for start in range(0, len(made), 100):
        client.log_batch(run, params=made[start : start + 100])
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run, metrics=metrics[start : start + AT_ONCE])


def _name(text: str) -> str:
    """A name of a param or metric as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", text, flags=re.ASCII)[:LONGEST_NAME]


def curve_points(history: pd.DataFrame, ended: int, seconds: float) -> Iterator[tuple[str, float, int, int]]:
    """Losses, validation scores and what else the history has: name, value, time (ms since 1970) and step. Each has the time at which its
    step was done, for steps of a cell take equally long. ended: when the cell ended; seconds: how long it trained.
    """
    last, long = int(history["step"].max()), history.melt("step").dropna()
    times = {step: ended - round(1000 * seconds * (1 - step / last)) for step in map(int, history["step"])}
    for name, value, step in zip(long["variable"], long["value"].astype(float), long["step"].astype(int), strict=True):
        yield f"train/{name}", value, times[step], step


def ended_at(folder: CellFolder, record: dict[str, Any]) -> int:
    """When a cell ended, ms since 1970: as its record says, or of an older one the time of the file."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return int(datetime.fromisoformat(record["ended"]).timestamp() * 1000)
    return int((folder.path / "record.json").stat().st_mtime * 1000)


def curves(history: pd.DataFrame) -> Figure:
    """Losses (left) and validation score (right) over steps; no column with a "/" in its name, which is neither."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for column in history.columns.drop(["step", "validation"], errors="ignore"):
        if "/" not in column:
            losses.plot(history["step"], history[column], label=column)
    losses.set(xlabel="step", ylabel="loss", yscale="log")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    if "validation" in history:
        seen = history.dropna(subset="validation")
        scores.plot(seen["step"], seen["validation"], marker="o")
    scores.set(xlabel="step", ylabel="validation DSC", ylim=(0, 1))
    return figure
