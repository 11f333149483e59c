"""MLflow as a mirror of records: it can be deleted and rebuilt from them by one call, and mirroring twice adds nothing.

One parent run a command, one child run a cell. Runs are found again by tags, never by state kept elsewhere. Everything goes through a
client of our own: MLflow's global state is the caller's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum
from benchmark.ground.redaction import for_records
from benchmark.records.store import CellFolder, Store
from benchmark.records.tracking_place import URI, default_uri, place_of
from benchmark.records.tracking_run import ended_at, log_cell, log_values

if TYPE_CHECKING:
    from torch import nn

FOREIGN = ("mlflow", "sqlalchemy", "sqlite3", "alembic", "psycopg2", "pymysql")
"""Whose errors mean that a tracking server or database cannot be used."""

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
ABANDONED_SECONDS = 60.0
"""A run that was begun so long ago, and is not at its end, was left half-way; a younger one is another process's."""

QUIET = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Environment of the client: no chatter, and a server that does not answer is given up after seconds, not minutes."""


class NotMirrored(Exception):
    """A cell cannot be mirrored, and the server can be used: the record, or what MLflow makes of it, is at fault."""


class Mirror:
    """Copies cells' records into an MLflow tracking server; uri and experiment as in ``place_of``; "none" means do nothing.

    Every method raises BadInput where mlflow is not installed or the server does not answer.
    """

    def __init__(self, store: Store, uri: str | None, experiment: str | None = None) -> None:
        self.store = store
        self.place = place_of(store, uri, experiment)
        self.uri, self.remote = self.place.uri, self.place.remote
        self._experiment: str | None = None
        self._parents: dict[str, str] = {}
        self._ends: dict[str, int] = {}
        self._measuring = False

    @property
    def used(self) -> bool:
        """Whether there is tracking at all."""
        return self.uri != "none"

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
        if self._experiment is None and (folder := self.place.folder):
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):  # mlflow would try for minutes
                raise BadInput(f"--tracking: {folder} cannot be written; expected an MLflow tracking URI or none")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._experiment is None:
                    with self.place.alone():
                        self._experiment = self.place.find(mlflow.MlflowClient(tracking_uri=self.uri))
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

    def connect(self) -> None:
        """Fail now rather than after hours, if the server cannot be used."""
        if self.used:
            with self._client():
                pass

    def add(self, folder: CellFolder) -> None:
        """Mirror one finished or failed cell. What is there already is left alone; a run of the cell that is left half-way, or is older
        than the record, which the cell has when it ran again, is replaced.

        Raises:
            NotMirrored: the cell is left out, and the next one may well go.
        """
        if not self.used or folder.record() is None:
            return
        try:
            self._add(folder)
        except Exception as error:  # whatever is wrong with a record or its files
            if not self._answers():
                raise
            cause = error.__context__ if isinstance(error, BadInput) and error.__context__ else error
            reason = (str(cause).splitlines() or [type(cause).__name__])[0][:300]
            raise NotMirrored(f"{folder.path} cannot be tracked ({reason}); it is left out") from error

    def _answers(self) -> bool:
        with contextlib.suppress(Exception), self._client() as client:
            client.search_runs([self._experiment], max_results=1)
            return True
        return False

    def _add(self, folder: CellFolder) -> None:
        record = folder.read_record()
        content = checksum((folder.path / "record.json").read_bytes())
        with self._client() as client:
            for run in self._find(client, {"cell": record["cell"]}, limit=10):
                tags = run.data.tags
                same = tags.get("content") == content
                newer = tags.get("ended", "") > record.get("ended", "")
                under_way = time.time() - float(tags.get("mirrored", 0)) < ABANDONED_SECONDS
                if (run.info.status != "RUNNING" and (same or newer)) or (run.info.status == "RUNNING" and same and under_way):
                    return
                client.delete_run(run.info.run_id)
            ended = ended_at(folder, record)
            tags = {key: str(record[key]) for key in TAGS if record.get(key) is not None}
            began = ended - int(1000 * (record.get("seconds") or 0))
            command, revision = for_records(record["command"]), record["environment"]["revision"]
            parent = self._parent(client, command, began)
            tags |= {"revision": revision, "mlflow.source.git.commit": revision, "mlflow.source.name": "benchmark"}
            tags |= {"mlflow.parentRunId": parent, "content": content, "mirrored": f"{time.time():.6f}"}
            if record["outcome"] != "done":
                tags["error"] = record["error"][:5000]
            name = f"{record['variant']} {record['labels']} labels d{record['draw']} s{record['seed']}"
            run = client.create_run(self._experiment, start_time=began, tags=tags, run_name=name)
            if self._is_late(client, run, {"cell": record["cell"], "content": content}):
                return
            try:
                log_cell(client, run.info.run_id, folder, record, ended)
            except Exception:
                with contextlib.suppress(Exception):  # the server may be gone
                    client.delete_run(run.info.run_id)
                raise
            client.set_terminated(run.info.run_id, "FINISHED" if record["outcome"] == "done" else "FAILED", ended)
            if not self._measuring:
                self._end(client, parent, ended)

    def _end(self, client: Any, parent: str, ended: int | None = None) -> None:
        """Bring a command's run to its end: FAILED where one of its cells has."""
        self._ends[parent] = max(ended or 0, self._ends.get(parent, 0))
        failed = self._find(client, {"mlflow.parentRunId": parent, "outcome": "failed"})
        client.set_terminated(parent, "FAILED" if failed else "FINISHED", self._ends[parent] or None)

    def add_all(self, tell: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        """Rebuild the mirror from every record of the store, oldest first; returns a sentence on each cell that was left out.

        tell: called with how many of all cells are there.
        """
        folders = sorted(self.store.folders(), key=lambda folder: (folder.path / "record.json").stat().st_mtime)
        left_out = []
        for done, folder in enumerate(folders, 1):
            try:
                self.add(folder)
            except NotMirrored as problem:
                left_out.append(str(problem))
            tell(done, len(folders))
        return left_out

    def add_summary(
        self,
        command: str,
        files: list[Path],
        params: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Put what a command found into its run: reports and figures, best params, effects."""
        if not self.used:
            return
        with self._client() as client:
            parent = self._parent(client, command)
            for file in files:
                client.log_artifact(parent, str(file))
            log_values(client, parent, params or {}, metrics or {})

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
            before, named = mlflow.get_tracking_uri(), os.environ.get(URI)
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
                if named is None:  # MLflow says so to its children, too, and to the next command of this process
                    os.environ.pop(URI, None)
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
                self._end(client, parent)

    def _find(self, client: Any, tags: dict[str, str], limit: int = 1) -> list[Any]:
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return list(client.search_runs([self._experiment], filter_string=where, max_results=limit))

    def _is_late(self, client: Any, run: Any, tags: dict[str, str]) -> bool:
        """Whether another process made a run with these tags before this one, which is deleted then: two may look at once and find none."""
        others = self._find(client, tags, limit=10)
        first = min([run, *others], key=lambda each: (float(each.data.tags.get("mirrored", 0)), each.info.run_id))
        if first.info.run_id != run.info.run_id:
            client.delete_run(run.info.run_id)
            return True
        return False

    def _parent(self, client: Any, command: str, began: int | None = None) -> str:
        """The run of a command, made where it is missing, as of ``began`` (ms). Its key is a hash: commands may contain quotes."""
        from benchmark.records.identity import digest

        key = digest(command)
        if key not in self._parents:
            mine = {"kind": "command", "command_hash": key}
            known = self._find(client, mine)
            if not known:
                tags = mine | {"command": command, "mirrored": f"{time.time():.6f}"}
                name = command.removeprefix("python -m ")[:120]
                run = client.create_run(self._experiment, start_time=began, tags=tags, run_name=name)
                client.set_terminated(run.info.run_id)
                known = self._find(client, mine) if self._is_late(client, run, mine) else [run]
            self._parents[key] = known[0].info.run_id
        return self._parents[key]


class Follower:
    """Does the mirror's work in a thread of its own while cells run, so that a slow server costs training nothing.

    The first failure of the server ends it for this command, with a warning: the records are there to catch up from.
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
                except NotMirrored as problem:
                    self.warn(f"warning: {problem}")
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
