"""``track``: mirror a store to MLflow."""

import shlex
from pathlib import Path

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err, note, out
from benchmark.commands.options import (
    ExperimentOption,
    StoreOption,
    TrackingOption,
)
from benchmark.ground.errors import BadInput
from benchmark.ground.redaction import without_secrets


@command(epilog="Example: `python -m benchmark track --store runs --tracking http://localhost:5000`")
def track(store: StoreOption = Path("runs"), tracking: TrackingOption = None, experiment: ExperimentOption = None) -> None:
    """Bring an MLflow tracking server up to date with the records of a store; what is there already is left alone."""
    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.records.tracking import Mirror
    from benchmark.records.tracking_place import where_installed
    from benchmark.study.display import StageDisplay

    opened = Store(store)
    collect(opened)
    uri = where_installed(tracking, note)
    if uri == "none":
        raise BadInput("track: there is nowhere to track to; install mlflow, and name a tracking URI (--tracking)")
    mirror = Mirror(opened, uri, experiment)
    with StageDisplay(err, "tracking", "cells") as stage:
        left_out = mirror.add_all(stage.tell)
    for problem in left_out:
        note(f"warning: {problem}")
    out.print(f"mlflow ui --backend-store-uri {shlex.quote(without_secrets(mirror.uri))}", highlight=False, soft_wrap=True)
    if left_out:
        raise typer.Exit(1)
