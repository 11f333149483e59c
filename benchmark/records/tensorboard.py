"""The curves and scores of finished cells as TensorBoard's event files, a folder a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.ground.errors import BadInput
from benchmark.ground.files import safe_name
from benchmark.records.scores import mean_scores
from benchmark.records.store import CellFolder, Store
from benchmark.records.tracking_run import curve_points, ended_at


def to_tensorboard(
    store: Store, out: Path, tell: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, list[str]]:
    """Write the finished cells of a store below ``out``; one that is there is written anew. Returns how many were written, and a sentence
    on each that could not be. tell: called with how many of all are there.

    Raises:
        BadInput: tensorboard is not installed.
    """
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise BadInput("--to tensorboard: tensorboard is not installed; install it, or export without --to") from None
    folders, written, problems = store.folders(), 0, []
    for done, folder in enumerate(folders, 1):
        record = folder.record()
        if record and record["outcome"] == "done":
            try:
                events = list(_events(folder, record))
            except (OSError, ValueError, KeyError) as error:
                problems.append(f"{folder.path}: {' '.join(str(error).split())[:200]}")
                continue
            name = f"{record['variant']} {record['labels']} labelled d{record['draw']} s{record['seed']}"
            place = out / record["dataset"] / f"{safe_name(name)}-{record['cell']}"
            for earlier in place.glob("events.out.tfevents.*"):
                earlier.unlink()
            writer = EventFileWriter(str(place))
            for event in events:
                writer.add_event(event)
            writer.close()
            written += 1
        tell(done, len(folders))
    return written, problems


def _events(folder: CellFolder, record: dict[str, Any]) -> list[Any]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    ended, history = ended_at(folder, record), pd.read_csv(folder.path / "history.csv")
    points = list(curve_points(history, ended, record.get("seconds") or 0.0)) if len(history) else []
    points += [
        ("/".join(key), value, ended, record.get("steps_done") or 0) for key, value in mean_scores(folder, record).items()
    ]
    made = []
    for name, value, when, step in points:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        made.append(Event(wall_time=when / 1000, step=step, summary=summary))
    return made
