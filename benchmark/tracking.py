"""MLflow as a mirror of records: it can be deleted and rebuilt from them by one call, and mirroring twice adds nothing.

One parent run a command, one child run a cell. Runs are found again by tags, never by state kept elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.errors import BadInput
from benchmark.store import CellFolder, Store

EXPERIMENT = "ssl-segmentation-benchmark"
TAGS = ("cell", "dataset", "method", "variant", "labels", "draw", "seed", "protocol", "outcome", "data_hash", "code_hash")
NUMBERS = ("seconds", "parameters", "passes", "peak_memory_mb", "best_step", "validation")
FINISHED, FAILED = "FINISHED", "FAILED"


def default_uri(store: Path) -> str:
    """A sqlite file in the store."""
    return f"sqlite:///{store.resolve() / 'mlflow.db'}"


class Mirror:
    """Copies cells' records into an MLflow tracking server; uri None means ``default_uri``, "none" means do nothing.

    Raises:
        BadInput: mlflow is not installed, or the server does not answer.
    """

    def __init__(self, store: Store, uri: str | None) -> None:
        self.store = store
        self.uri = default_uri(store.root) if uri is None else uri
        self.experiment: str | None = None

    @contextlib.contextmanager
    def _mlflow(self) -> Iterator[Any]:
        """The mlflow module, connected; imported on first use because it takes seconds."""
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            import mlflow
        except ImportError:
            raise BadInput(
                "--tracking: mlflow is not installed; install the extra `tracking` or pass --tracking none"
            ) from None
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self.experiment is None:
                    self.store.root.mkdir(parents=True, exist_ok=True)
                    mlflow.set_tracking_uri(self.uri)
                    self.experiment = self._find_experiment(mlflow)
                yield mlflow
        except (mlflow.exceptions.MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(
                f"--tracking: {self.uri} cannot be used ({reason}); expected an MLflow tracking URI or none"
            ) from None

    def _find_experiment(self, mlflow: Any) -> str:
        found = mlflow.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return found.experiment_id
        local = self.uri.startswith("sqlite:")
        artifacts = (self.store.root.resolve() / "mlflow" / "artifacts").as_uri() if local else None
        return mlflow.create_experiment(EXPERIMENT, artifact_location=artifacts)

    def connect(self) -> None:
        """Fail now rather than after hours, if the server cannot be used."""
        if self.uri != "none":
            with self._mlflow():
                pass

    def add(self, folder: CellFolder) -> None:
        """Mirror one finished or failed cell; a cell that is there already is left alone."""
        record = folder.record()
        if self.uri == "none" or record is None:
            return
        with self._mlflow() as mlflow:
            if self._find(mlflow, {"cell": record["cell"], "outcome": record["outcome"]}):
                return
            with mlflow.start_run(run_id=self._parent(mlflow, record["command"]), log_system_metrics=False):
                name = f"{record['variant']} {record['labels']} labels d{record['draw']} s{record['seed']}"
                with mlflow.start_run(run_name=name, nested=True, experiment_id=self.experiment, log_system_metrics=False):
                    self._log(mlflow, folder, record)
                    mlflow.end_run(FINISHED if record["outcome"] == "done" else FAILED)

    def add_all(self) -> None:
        """Rebuild the mirror from every record of the store."""
        for folder in self.store.folders():
            self.add(folder)

    def add_files(self, command: str, files: list[Path]) -> None:
        """Attach a command's leaderboard and figures to its parent run."""
        if self.uri == "none":
            return
        with self._mlflow() as mlflow:
            client, parent = mlflow.MlflowClient(), self._parent(mlflow, command)
            for file in files:
                client.log_artifact(parent, str(file))

    def _find(self, mlflow: Any, tags: dict[str, str]) -> str | None:
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        runs = mlflow.search_runs([self.experiment], filter_string=where, max_results=1, output_format="list")
        return runs[0].info.run_id if runs else None

    def _parent(self, mlflow: Any, command: str) -> str:
        """The run of a command, made where it is missing. Its key is a hash: commands may contain quotes."""
        from benchmark.grid import digest

        key = digest(command)
        known = self._find(mlflow, {"kind": "command", "command_hash": key})
        if known is None:
            tags = {"kind": "command", "command_hash": key, "command": command}
            known = mlflow.MlflowClient().create_run(self.experiment, tags=tags, run_name=f"command {key}").info.run_id
            mlflow.MlflowClient().set_terminated(known)
        return known

    def _log(self, mlflow: Any, folder: CellFolder, record: dict[str, Any]) -> None:
        """Tags, params, metrics over steps, scores, the split as dataset input, files and the training curve of one cell."""
        mlflow.set_tags({"kind": "cell", "revision": record["environment"]["revision"]})
        mlflow.set_tags({key: record[key] for key in TAGS if record.get(key) is not None})
        mlflow.log_params(
            record["hparams"] | {key: record[key] for key in ("dataset", "method", "labels", "draw", "seed", "steps")}
        )
        split = pd.DataFrame({"case": record["labelled"], "use": "labelled"})
        dataset = mlflow.data.from_pandas(split, name=record["dataset"], digest=record["data_hash"])
        mlflow.log_input(dataset, context="training")
        mlflow.log_artifact(str(folder.path / "record.json"))
        if record["outcome"] != "done":
            mlflow.set_tag("error", record["error"])
            return
        mlflow.log_metrics({key: float(record[key]) for key in NUMBERS if record.get(key) is not None})
        history = pd.read_csv(folder.path / "history.csv")
        if len(history):  # a method without training has none
            self._log_history(mlflow, history)
            mlflow.log_figure(_curves(history), "training.png")
        cases = pd.read_csv(folder.path / "cases.csv", dtype={"case": str})
        headline = cases[(cases["network"] == record["reported"]) & cases["metric"].isin(["dsc", "hd95", "assd", "nsd"])]
        means = headline.groupby(["test_set", "selection", "metric"])["value"].mean()
        mlflow.log_metrics({f"{'/'.join(keys)}": value for keys, value in means.items() if value == value})
        mlflow.log_artifact(str(folder.path / "cases.csv"))

    def _log_history(self, mlflow: Any, history: pd.DataFrame) -> None:
        """Losses and validation scores by step, in batches of the size that MLflow takes."""
        from mlflow.entities import Metric

        long = history.melt("step").dropna()
        rows = zip(long["variable"], long["value"].astype(float), long["step"].astype(int), strict=True)
        metrics = [Metric(f"train/{name}", float(value), 0, int(step)) for name, value, step in rows]
        run = mlflow.active_run().info.run_id
        for start in range(0, len(metrics), 1000):
            mlflow.MlflowClient().log_batch(run, metrics=metrics[start : start + 1000])


def _curves(history: pd.DataFrame) -> Any:
    """Losses (left) and validation score (right) over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for column in history.columns.drop(["step", "validation"], errors="ignore"):
        losses.plot(history["step"], history[column], label=column)
    losses.set(xlabel="step", ylabel="loss", yscale="log")
    losses.legend(fontsize="small")
    if "validation" in history:
        seen = history.dropna(subset="validation")
        scores.plot(seen["step"], seen["validation"], marker="o")
    scores.set(xlabel="step", ylabel="validation DSC", ylim=(0, 1))
    return figure
