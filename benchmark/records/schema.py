"""What stands in a store's files, checked when it is read: a record, and the note of how far a cell is. (``cell.json`` is a Cell.)

Files may come from another version, another lab or a broken disk: what does not fit is a BadRecord that names file and reason, and costs
nobody else anything. Texts are limited, so that no page or table can be flooded by one of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.ground import registry
from benchmark.ground.redaction import for_records
from benchmark.records.fingerprint import UNKNOWN, Code
from benchmark.records.identity import Cell, Spent, Trial, digest

VERSION = 2
"""Of records as they are written now; 1: without ``code`` and ``ended``."""

MAX_BYTES = 8 * 2**20
Name = Annotated[str, Field(pattern=f"^{registry.NAME}$", max_length=100)]
Line = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Hash = Annotated[str, Field(pattern=r"^[0-9A-Za-z_\-]*$", max_length=128)]
Text = Annotated[str, Field(max_length=20_000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
T = TypeVar("T", bound=BaseModel)


class BadRecord(Exception):
    """A file of a store is not what it should be; the message names it, with what was found."""


class Record(BaseModel):
    """What a cell left behind: the cell, its outcome, cost, environment and code; of a failed one what is known, and the error."""

    model_config = ConfigDict(frozen=True)
    version: Literal[1, 2] = 1
    cell: Annotated[str, Field(pattern=r"^[^/\\.\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*$", max_length=200)]
    dataset: Name
    kind: Literal["run", "tuned", "trial"]
    method: Name
    variant: Line
    labels: Annotated[int, Field(ge=1, le=10**9)]
    draw: Count
    seed: Count
    protocol: Line
    protocol_title: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    steps: Count
    command: Text = ""
    trial: Trial | None = None
    tuning: Spent | None = None
    fold: tuple[Count, Count] | None = None
    hparams: Annotated[dict[Line, Any], Field(max_length=500)]
    labelled: Annotated[list[Line], Field(max_length=100_000)]
    data_hash: Hash
    draw_hash: Hash
    protocol_hash: Hash
    outcome: Literal["done", "failed"]
    error: Text | None = None
    traceback: Annotated[str, Field(max_length=1_000_000)] | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    parameters: Count | None = None
    passes: Annotated[float, Field(ge=0)] | None = None
    peak_memory_mb: float | None = None
    reported: Line | None = None
    best_step: Count | None = None
    steps_done: Count | None = None
    looks: Annotated[list[tuple[Count, float]], Field(max_length=100_000)] = []
    validation: float | None = None
    validation_last: float | None = None
    never_predicted: Annotated[list[Line], Field(max_length=1000)] | None = None
    effective: Annotated[dict[Line, Any], Field(max_length=500)] | None = None
    train_cases: Count | None = None
    val_cases: Count | None = None
    spacing_unit: Literal["mm", "voxel"] | None = None
    code: Code | None = None
    code_hash: Hash = UNKNOWN
    ended: Annotated[str, Field(max_length=40)] | None = None
    environment: Annotated[dict[Line, Any], Field(max_length=500)] = {}


class Note(BaseModel):
    """How far a cell is, who runs it and since when (seconds since 1970), which code (a hash), and MB of a GPU needed and there."""

    model_config = ConfigDict(frozen=True)
    host: Line
    process: Count
    device: Line
    since: float
    step: Count
    total: Count
    loss: float
    validation: float
    memory: tuple[float, float] | None = None
    code: Hash = UNKNOWN


def parse(model: type[T], content: bytes, path: Path) -> T:
    """The content of a JSON file of a store.

    Raises:
        BadRecord: it is not what ``model`` says; the message names ``path``.
    """
    if len(content) > MAX_BYTES:
        raise BadRecord(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadRecord(f"{path}: {where or 'the whole'}: {first['msg'].lower()}") from None


def describe_cell(cell: Cell) -> dict[str, Any]:
    """The part of a record that is known before a cell runs."""
    return {
        "version": VERSION,
        "cell": cell.id,
        "dataset": cell.dataset,
        "kind": cell.kind,
        "method": cell.method,
        "variant": cell.variant,
        "labels": cell.labels,
        "draw": cell.draw,
        "seed": cell.seed,
        "protocol": cell.protocol.name,
        "protocol_title": cell.protocol.title,
        "steps": cell.protocol.steps,
        "command": for_records(cell.command),
        "trial": cell.trial and cell.trial.model_dump(mode="json"),
        "tuning": cell.tuning and cell.tuning.model_dump(mode="json"),
        "hparams": cell.hparams,
        "labelled": list(cell.labelled),
        "data_hash": cell.data_hash,
        "draw_hash": digest(cell.labelled),
        "protocol_hash": digest(cell.protocol.rules()),
    } | ({"fold": list(cell.fold)} if cell.fold else {})
