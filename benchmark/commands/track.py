"""``track``: mirror a store to MLflow."""

from pathlib import Path

from benchmark.commands.app import command
from benchmark.commands.console import err, out
from benchmark.commands.options import (
    StoreOption,
    TrackingOption,
)
from benchmark.ground.redaction import without_secrets


@command(epilog="Example: `python -m benchmark track --store runs --tracking http://localhost:5000`")
def track(store: StoreOption = Path("runs"), tracking: TrackingOption = None) -> None:
    """Bring an MLflow tracking server up to date with the records of a store; what is there already is left alone."""
    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.records.tracking import Mirror
    from benchmark.study.display import StageDisplay

    opened = Store(store)
    collect(opened)
    mirror = Mirror(opened, tracking)
    with StageDisplay(err, "tracking", "cells") as stage:
        mirror.add_all(stage.tell)
    out.print(f"mlflow ui --backend-store-uri {without_secrets(mirror.uri)}", highlight=False, soft_wrap=True)
