"""What makes two cells the same: everything that can change a result, and its hash, the cell's id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from benchmark.ground import registry
from benchmark.ground.protocol import Protocol


def digest(value: Any) -> str:
    """Short hash (12 hex digits) of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


class Trial(BaseModel):
    """What a tuner's trial is besides its cell: its study, the variant that is tuned, its number (0 has the published values), how and
    in which ranges was searched.

    prune_below: (step, DSC) pairs: training ends at a step where the best validation score so far is below. objectives: what was searched
    for, which the study's name covers. found_at: of the best values of a study at that budget, tried at another, which no study counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    study: str
    of: str
    number: int
    sampler: str
    searched: dict[str, dict[str, Any]]
    prune_below: tuple[tuple[int, float], ...] = ()
    objectives: tuple[str, ...] = ("dsc",)
    found_at: int | None = None


class Spent(BaseModel):
    """What finding a tuned cell's hparams took: trials, training steps, seconds of training."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    trials: int
    steps: int
    seconds: float


class Cell(BaseModel):
    """One (dataset, method + hparams, budget, draw, seed, protocol): what is run, stored, resumed and reported.

    hparams holds every value, defaults included; ``variant`` is the text by which reports call it.
    labelled: the case ids that the draw labels. fold: of a cross-validation, its number, from 0, and how many there are. trial: set for a
    tuner's trial, which is scored on the validation cases alone. tuning: set where a tuner found the hparams. data: where the data lies,
    which is no part of the identity. replaces: the stamp of a finished outcome that is to be made again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    dataset: str = Field(pattern=f"^{registry.NAME}$")
    data_hash: str = Field(max_length=128)
    method: str = Field(pattern=f"^{registry.NAME}$")
    variant: str = Field(max_length=500)
    hparams: dict[str, Any] = Field(max_length=500)
    labels: int
    draw: int
    seed: int
    labelled: tuple[str, ...] = Field(max_length=100_000)
    protocol: Protocol
    trial: Trial | None = None
    tuning: Spent | None = None
    fold: tuple[int, int] | None = None
    data: Path | None = Field(default=None, exclude=True)
    command: str = Field(default="", exclude=True)
    replaces: str | None = Field(default=None, exclude=True)

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a fold where there is none: as before there were such."""
        fields: dict[str, Any] = dump(self)
        if self.fold is None:
            fields.pop("fold", None)
        return fields

    @property
    def id(self) -> str:
        """Short hash of everything that can change the result."""
        same = self.model_dump(mode="json", exclude={"variant", "labels", "trial", "tuning", "protocol"})
        same["protocol"] = self.protocol.rules()
        if self.kind != "run":
            trial = self.trial and self.trial.model_dump(mode="json", exclude={"objectives", "found_at"})
            same |= {"kind": self.kind, "trial": trial}
        return digest(same)

    @property
    def kind(self) -> Literal["run", "tuned", "trial"]:
        """A tuner's trial, a run with what a tuner found, or a plain run."""
        return "trial" if self.trial else "tuned" if self.tuning else "run"

    def __str__(self) -> str:
        fold = f", fold {self.fold[0] + 1} of {self.fold[1]}" if self.fold else ""
        return f"{self.variant} {self.labels} labelled, draw {self.draw}, seed {self.seed}{fold}"
