"""Where MLflow's records of a store go: the server or file, the experiment in it, and where its files lie."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput, quoted
from benchmark.ground.files import one_at_a_time
from benchmark.records.store import Store

EXPERIMENT = "ssl-segmentation-benchmark"
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Has MLflow's pages show charts of training, not of language models."""

NONE = ("none", "no", "off", "false", "0", "null", "nil", "disabled")
"""What means no tracking, in any case of letters; YAML makes ``false`` of ``no`` and ``off``."""

URI, NAME = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own environment variables, which count where the command line says nothing."""

PLAIN = "".join(map(chr, range(33, 127))).translate(str.maketrans("", "", "?#%")) + " "
"""Letters that mean themselves in a path of a URI, as SQLAlchemy reads it."""


def default_uri(store: Path) -> str:
    """A sqlite file in the store.

    Raises:
        BadInput: the installed SQLAlchemy cannot name it, for its path has a "?" or the like.
    """
    path = str(store.resolve() / "mlflow.db")
    if set(path) <= set(PLAIN) or not importlib.util.find_spec("sqlalchemy"):
        return f"sqlite:///{path}"
    uri = _made_of(path)
    if _path_of(uri) != path:
        raise BadInput(f"--tracking: MLflow's file {path} has a path that SQLAlchemy cannot name; name another place, or none")
    return uri


def _made_of(path: str) -> str:
    from sqlalchemy import URL

    return URL.create("sqlite", database=path).render_as_string()


def _path_of(uri: str) -> str | None:
    """The file of a sqlite URI; None of any other."""
    if uri.partition(":")[0].partition("+")[0] != "sqlite" or not importlib.util.find_spec("sqlalchemy"):
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    with contextlib.suppress(ArgumentError):
        return make_url(uri).database or None
    return None


def where_installed(uri: str | None, warn: Callable[[str], None]) -> str | None:
    """The tracking URI that an option names, else the one of MLflow's environment variable, which is said; "none" for what means none, and,
    which is said too, where mlflow is not installed: a compute node needs none. None: nothing was named.
    """
    typed, variable = (uri or "").strip(), os.environ.get(URI, "").strip()
    named = typed or variable
    if named.lower() in NONE:
        return "none"
    if not typed and not importlib.util.find_spec("mlflow"):
        warn(
            "note: mlflow is not installed, so nothing is tracked; `python -m benchmark track` catches up from the records where it is"
        )
        return "none"
    if named and not typed:
        warn(f"note: scores go to {named}, which {URI} names; --tracking names another place, or none")
    return named or None


@dataclass(frozen=True)
class Place:
    """A tracking URI and an experiment there; see ``place_of``."""

    store: Store
    uri: str
    experiment: str

    @property
    def remote(self) -> bool:
        """Whether a server answers, which may be down for a while, rather than files or a database."""
        return self.uri.startswith(("http:", "https:"))

    @property
    def folder(self) -> Path | None:
        """Where a sqlite file lies, and files beside it; None of any other URI."""
        path = _path_of(self.uri)
        return Path(path).resolve().parent if path else None

    def alone(self) -> contextlib.AbstractContextManager[Any]:
        """The first look into a database is one command's at a time: it makes the tables, which two at once break. Of one that is no file,
        one command's of this store, where that can be written.
        """
        path = _path_of(self.uri)
        if path:
            return one_at_a_time(Path(f"{Path(path).resolve()}.lock"))
        ours = self._is_database and os.access(self.store.root, os.W_OK)
        return one_at_a_time(self.store.root / "mlflow.lock") if ours else contextlib.nullcontext()

    @property
    def _is_database(self) -> bool:
        return "://" in self.uri and self.uri.partition(":")[0].partition("+")[0] in ("postgresql", "mysql", "mssql")

    def find(self, client: Any) -> str:
        """The id of the experiment, which is made where it is missing.

        Raises:
            BadInput: it was deleted, and MLflow keeps its name.
        """
        found = client.get_experiment_by_name(self.experiment)
        self._clear_stray()
        if found is None:
            return client.create_experiment(self.experiment, artifact_location=self._artifacts(), tags=MODEL_TRAINING)
        if found.lifecycle_stage != "active":
            raise BadInput(
                f"--experiment: {quoted(self.experiment)} was deleted in MLflow, which keeps it; `{URI}={self.uri} mlflow experiments"
                f" restore -x {found.experiment_id}` brings it back, `mlflow gc` deletes it for good; or name another"
            )
        return found.experiment_id

    def _clear_stray(self) -> None:
        """Remove the empty folders that MLflow makes where a sqlite file would lie if its URI were no URI but a path."""
        stray = Path(self.uri.partition(":///")[2].partition("?")[0]).parent
        if self.folder and stray.resolve() != self.folder:
            with contextlib.suppress(OSError):  # as soon as one is not empty, or not there
                while stray not in self.folder.parents:
                    stray.rmdir()
                    stray = stray.parent

    def _artifacts(self) -> str | None:
        """Where files go: beside a sqlite file; of another database, in the store, for MLflow would take the working directory; else where
        the server says.
        """
        if self.folder:
            return (self.folder / "mlflow" / "artifacts").as_uri()
        return (self.store.root.resolve() / "mlflow" / "artifacts").as_uri() if self._is_database else None


def place_of(store: Store, uri: str | None, experiment: str | None = None) -> Place:
    """The place that options name: uri None means ``default_uri``; experiment None what MLflow's environment variable says, else
    EXPERIMENT.
    """
    named = experiment or os.environ.get(NAME, "").strip() or EXPERIMENT
    return Place(store, default_uri(store.root) if uri is None else uri, named)
