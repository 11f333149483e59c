"""MLflow as a mirror of records: it can be deleted and rebuilt from them by one call, and mirroring twice adds nothing.

One parent run a command, one child run a cell. Runs are found again by tags, never by state kept elsewhere. Everything goes through a
client of our own: MLflow's global state is the caller's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum, one_at_a_time
from benchmark.ground.redaction import for_records
from benchmark.records.store import CellFolder, Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

FOREIGN = ("mlflow", "sqlalchemy", "sqlite3", "alembic")
"""Whose errors mean that a tracking server or database cannot be used."""

EXPERIMENT = "ssl-segmentation-benchmark"
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Has MLflow's pages show charts of training, not of language models."""

TAGS = (
    "cell",
    "kind",
    "dataset",
    "method",
    "variant",
    "labels",
    "draw",
    "seed",
    "protocol",
    "outcome",
    "data_hash",
    "code_hash",
    "ended",
)
NUMBERS = ("seconds", "parameters", "passes", "peak_memory_mb", "best_step", "validation")
AT_ONCE = 900
"""Metrics sent in one request; MLflow takes 1,000 of everything together."""

QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Environment of the client: no chatter, and a server that does not answer is given up after seconds, not minutes."""


def default_uri(store: Path) -> str:
    """A sqlite file in the store."""
    return f"sqlite:///{store.resolve() / 'mlflow.db'}"


def where_installed(uri: str | None, warn: Callable[[str], None]) -> str | None:
    """The tracking URI; without one, tracking is left out, and that is said, where mlflow is not installed: a compute node needs none."""
    if uri is not None or importlib.util.find_spec("mlflow"):
        return uri
    warn(
        "note: mlflow is not installed, so nothing is tracked; `python -m benchmark track` catches up from the records where it is"
    )
    return "none"


class Mirror:
    """Copies cells' records into an MLflow tracking server; uri None means ``default_uri``, "none" means do nothing.

    Every method raises BadInput where mlflow is not installed or the server does not answer.
    """

    def __init__(self, store: Store, uri: str | None) -> None:
        self.store = store
        self.uri = default_uri(store.root) if uri is None else uri
        self._experiment: str | None = None
        self._parents: dict[str, str] = {}
        self._ends: dict[str, int] = {}
        self._measuring = False

    @property
    def used(self) -> bool:
        """Whether there is tracking at all."""
        return self.uri != "none"

    @property
    def remote(self) -> bool:
        """Whether a server answers, which may be down for a while, rather than files."""
        return self.uri.startswith(("http:", "https:"))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        """A client; mlflow is imported on first use because it takes seconds."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        try:
            import mlflow
        except ImportError:
            raise BadInput(
                "--tracking: mlflow is not installed; install the extra `tracking` or pass --tracking none"
            ) from None
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        if self._experiment is None and (folder := self._folder()):
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):  # mlflow would try for minutes
                raise BadInput(f"--tracking: {folder} cannot be written; expected an MLflow tracking URI or none")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._experiment is None:
                    with self._alone():
                        self._experiment = self._find_experiment(mlflow.MlflowClient(tracking_uri=self.uri))
                yield mlflow.MlflowClient(tracking_uri=self.uri)
        except Exception as error:  # MLflow lets some errors of the database through as they are
            if type(error).__module__.partition(".")[0] not in FOREIGN and not isinstance(error, OSError):
                raise
            reason = str(error).splitlines()[0]
            if self.remote and "Max retries exceeded" in reason:
                reason = "it does not answer"
            raise BadInput(
                f"--tracking: {self.uri} cannot be used ({reason}); expected an MLflow tracking URI or none"
            ) from None

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """The first look into a sqlite file is one command's at a time: it makes the file's tables, which two at once break."""
        folder = self._folder()
        return one_at_a_time(folder / f"{Path(self.uri.partition('?')[0]).name}.lock") if folder else contextlib.nullcontext()

    def _find_experiment(self, client: Any) -> str:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return found.experiment_id
        folder = self._folder()
        artifacts = (folder / "mlflow" / "artifacts").as_uri() if folder else None
        return client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=MODEL_TRAINING)

    def _folder(self) -> Path | None:
        """Where a sqlite file lies, and files beside it; None of any other URI."""
        scheme, _, path = self.uri.partition(":///")
        return Path(path).resolve().parent if scheme == "sqlite" and path else None

    def connect(self) -> None:
        """Fail now rather than after hours, if the server cannot be used."""
        if self.used:
            with self._client():
                pass

    def add(self, folder: CellFolder) -> None:
        """Mirror one finished or failed cell. What is there already is left alone; a run of the cell that is left half-way, or is older
        than the record, which the cell has when it ran again, is replaced.
        """
        record = folder.record()
        if not self.used or record is None:
            return
        content = checksum((folder.path / "record.json").read_bytes())
        with self._client() as client:
            for run in self._find(client, {"cell": record["cell"]}, limit=10):
                tags = run.data.tags
                same = tags.get("content") == content
                newer = tags.get("ended", "") > record.get("ended", "")
                if run.info.status != "RUNNING" and (same or newer):
                    return
                client.delete_run(run.info.run_id)
            ended = int((folder.path / "record.json").stat().st_mtime * 1000)
            tags = {key: str(record[key]) for key in TAGS if record.get(key) is not None}
            began = ended - int(1000 * record.get("seconds", 0))
            command, revision = for_records(record["command"]), record["environment"]["revision"]
            parent = self._parent(client, command, began)
            tags |= {"revision": revision, "mlflow.source.git.commit": revision, "mlflow.source.name": "benchmark"}
            tags |= {"mlflow.parentRunId": parent, "content": content}
            if record["outcome"] != "done":
                tags["error"] = record["error"][:5000]
            name = f"{record['variant']} {record['labels']} labels d{record['draw']} s{record['seed']}"
            run = client.create_run(self._experiment, start_time=began, tags=tags, run_name=name)
            self._log(client, run.info.run_id, folder, record, ended)
            client.set_terminated(run.info.run_id, "FINISHED" if record["outcome"] == "done" else "FAILED", ended)
            if not self._measuring:
                self._ends[parent] = max(ended, self._ends.get(parent, 0))
                client.set_terminated(parent, "FINISHED", self._ends[parent])

    def add_all(self, tell: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Rebuild the mirror from every record of the store, oldest first. tell: called with how many of all cells are there."""
        folders = sorted(self.store.folders(), key=lambda folder: (folder.path / "record.json").stat().st_mtime)
        for done, folder in enumerate(folders, 1):
            self.add(folder)
            tell(done, len(folders))

    def add_files(self, command: str, files: list[Path]) -> None:
        """Attach a command's leaderboard and figures to its parent run."""
        if self.used and files:
            with self._client() as client:
                parent = self._parent(client, command)
                for file in files:
                    client.log_artifact(parent, str(file))

    def register(self, cell: str, name: str, model: nn.Module, image_shape: tuple[int, int, int]) -> str:
        """Register a cell's network as the next version of the model ``name``, once; returns what was done, in words.

        model: images (N, C, P, P) to class probabilities (N, K, P, P). image_shape: (C, P, P). The input example is noise: no patient's.
        """
        with self._client() as client:
            import mlflow
            import numpy as np
            import torch
            from mlflow.models import ModelSignature
            from mlflow.types import Schema, TensorSpec

            for version in client.search_model_versions(f"name = '{name}'"):
                if version.tags.get("cell") == cell:
                    return f"model {name} version {version.version} is this cell already"
            (run,) = self._find(client, {"cell": cell, "outcome": "done"})
            example = np.random.default_rng(0).normal(size=(2, *image_shape)).astype(np.float32)
            with torch.inference_mode():
                found = model(torch.from_numpy(example))
            images, probabilities = (
                Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]) for shape in (image_shape, tuple(found.shape[1:]))
            )
            before = mlflow.get_tracking_uri()
            try:  # the fluent interface alone logs models
                mlflow.set_tracking_uri(self.uri)
                with mlflow.start_run(run_id=run.info.run_id):
                    logged = mlflow.pytorch.log_model(
                        model,
                        name="model",
                        signature=ModelSignature(images, probabilities),
                        input_example=example,
                        registered_model_name=name,
                        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
                    )
            finally:
                mlflow.set_tracking_uri(before)
            version = logged.registered_model_version
            client.set_model_version_tag(name, version, "cell", cell)
            return f"registered as model {name} version {version}"

    @contextlib.contextmanager
    def system_metrics(self, command: str) -> Iterator[None]:
        """Log this machine's load (CPU, memory, disk, network, GPU) to the command's run while the body runs."""
        with self._client() as client:
            parent = self._parent(client, command)
            try:
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                monitor = SystemMetricsMonitor(parent, resume_logging=True, tracking_uri=self.uri)
            except ImportError:
                raise BadInput("--system-metrics: psutil is not installed; install the extra `tracking`") from None
            client.update_run(parent, status="RUNNING")  # the monitor watches no other
        self._measuring = True
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()
            self._measuring = False
            with self._client() as client:
                client.set_terminated(parent)

    def _find(self, client: Any, tags: dict[str, str], limit: int = 1) -> list[Any]:
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return list(client.search_runs([self._experiment], filter_string=where, max_results=limit))

    def _parent(self, client: Any, command: str, began: int | None = None) -> str:
        """The run of a command, made where it is missing, as of ``began`` (ms). Its key is a hash: commands may contain quotes."""
        from benchmark.records.identity import digest

        key = digest(command)
        if key not in self._parents:
            known = self._find(client, {"kind": "command", "command_hash": key})
            if not known:
                tags = {"kind": "command", "command_hash": key, "command": command}
                name = command.removeprefix("python -m ")[:120]
                known = [client.create_run(self._experiment, start_time=began, tags=tags, run_name=name)]
                client.set_terminated(known[0].info.run_id)
            self._parents[key] = known[0].info.run_id
        return self._parents[key]

    def _log(self, client: Any, run: str, folder: CellFolder, record: dict[str, Any], when: int) -> None:
        """Params, metrics over steps, scores, the split as dataset input, files and the training curve of one cell."""
        import mlflow
        from mlflow.entities import DatasetInput, InputTag, Metric, Param

        settings = record["hparams"] | {key: record[key] for key in ("dataset", "method", "labels", "draw", "seed", "steps")}
        split = pd.DataFrame({"case": record["labelled"], "use": "labelled"})
        dataset = mlflow.data.from_pandas(split, name=record["dataset"], digest=record["data_hash"])._to_mlflow_entity()
        client.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        metrics = []
        if record["outcome"] == "done":
            metrics = [Metric(key, float(record[key]), when, 0) for key in NUMBERS if record.get(key) is not None]
            metrics += [Metric(key, value, when, 0) for key, value in _scores(folder, record).items()]
            history = pd.read_csv(folder.path / "history.csv")
            if len(history):  # a method without training has none
                metrics += _curve_metrics(history, when)
                client.log_figure(run, _curves(history), "training.png")
            client.log_artifact(run, str(folder.path / "cases.csv"))
        client.log_text(run, for_records((folder.path / "record.json").read_text(encoding="utf-8")), "record.json")
        client.log_batch(run, params=[Param(key, str(value)) for key, value in settings.items()])
        for start in range(0, len(metrics), AT_ONCE):
            client.log_batch(run, metrics=metrics[start : start + AT_ONCE])


def _scores(folder: CellFolder, record: dict[str, Any]) -> dict[str, float]:
    """Means of the reported network: ``test/last/dsc`` and the like."""
    cases = pd.read_csv(folder.path / "cases.csv", dtype={"case": str})
    headline = cases[(cases["network"] == record["reported"]) & cases["metric"].isin(["dsc", "hd95", "assd", "nsd"])]
    means = headline.groupby(["test_set", "selection", "metric"])["value"].mean().dropna()
    return {"/".join(map(str, key)): float(value) for key, value in means.items()}


def _curve_metrics(history: pd.DataFrame, when: int) -> list[Any]:
    """Losses, validation scores and what else the history has, by step."""
    from mlflow.entities import Metric

    long = history.melt("step").dropna()
    rows = zip(long["variable"], long["value"].astype(float), long["step"].astype(int), strict=True)
    return [Metric(f"train/{name}", value, when, step) for name, value, step in rows]


def _curves(history: pd.DataFrame) -> Figure:
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


class Follower:
    """Does the mirror's work in a thread of its own while cells run, so that a slow server costs training nothing.

    The first failure ends it for this command, with a warning: the records are there to catch up from.
    """

    def __init__(self, mirror: Mirror, warn: Callable[[str], None]) -> None:
        self.mirror, self.warn = mirror, warn
        self.broken = threading.Event()
        self.thread = ThreadPoolExecutor(1, "tracking")

    def add(self, folder: CellFolder) -> None:
        """Mirror a cell, soon."""

        def attempt() -> None:
            if not self.broken.is_set():
                try:
                    self.mirror.add(folder)
                except Exception as error:  # whatever MLflow and its drivers raise, the grid goes on
                    self.give_up(error)

        self.thread.submit(attempt)

    def close(self) -> None:
        """Wait for what is under way; after a failure that is nothing."""
        self.thread.shutdown(wait=True)

    def give_up(self, error: Exception) -> None:
        """Stop mirroring, and say so once."""
        if not self.broken.is_set():
            self.broken.set()
            uri = "" if self.mirror.uri == default_uri(self.mirror.store.root) else f" --tracking {self.mirror.uri}"
            again = f"`python -m benchmark track --store {self.mirror.store.root}{uri}` catches up from the records"
            self.warn(f"warning: {error}; tracking stops here, and {again}")
