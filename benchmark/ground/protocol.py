"""Protocols: named sets of rules that are equal for all methods.

Values of ``paper`` are the field's common recipe (SSL4MIS: SGD .01, momentum .9, weight decay 1e-4, polynomial decay .9, 30,000
steps) at the image size of cross-teaching, 224 pixels, which the Swin-UNet needs. ``paper-short`` is the same with 4,000 steps; ramps and
decay are fractions of the steps. ``paper-bf16`` is the same in half precision. ``desk``, ``quick`` and ``smoke`` are the same
rules, shorter, with narrower and shallower versions of the same two networks: ``desk`` for patients, ``quick`` for the phantom.

Rules of one's own start from one of these: ``quick[steps=1600,image_size=96]``, or a YAML file, whose name is the protocol's:

    # mine.yaml
    base: paper
    steps: 8000
    swin:
      window: 8
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from benchmark.ground.grammar import as_typed

Count = Annotated[int, Field(ge=1, le=10**9)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=10)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SwinSize(BaseModel):
    """Size of the Swin-UNet: channels after patch embedding, blocks and heads a level, window and patch in tokens and pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    embed: Count
    depths: Counts
    heads: Counts
    window: Count
    patch: Count = 4


class Protocol(BaseModel):
    """What every method gets alike: steps, batch, image size, networks' sizes, optimiser, schedule, selection."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    summary: str
    """For people alone: no part of the rules, so that a better sentence runs no cell again."""
    base: str = ""
    """The preset that rules of one's own start from; they are what they are, whatever they start from."""
    version: int = 1
    steps: Count
    batch_labelled: Count
    batch_unlabelled: Count
    image_size: Count
    """Side of the square slices that networks see, pixels."""
    unet_widths: Counts
    unet_dropout: Annotated[tuple[Share, ...], Field(min_length=1, max_length=10)]
    swin: SwinSize
    learning_rate: float = Field(gt=0)
    momentum: Share = 0.9
    weight_decay: float = Field(default=1e-4, ge=0)
    power: float = Field(default=0.9, ge=0)
    """Learning rate at step t of T: learning_rate * (1 - t/T)^power."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of networks in training: bfloat16 is autocast, with weights, optimiser and predictions in float32."""
    augmentation: Literal["weak", "strong"] = "weak"
    """Of every batch, labelled and unlabelled: the field's, or nnU-Net's (``datasets.augmentation``)."""
    validations: Count
    """How many times the validation cases are scored, evenly spread, the last after the last step."""
    tolerance: float = Field(default=2.0, gt=0)
    """NSD's tolerance for every class, mm (voxels where the data has no spacing)."""

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the usual precision and augmentation, and without a base where there is none: as before there were such."""
        fields: dict[str, Any] = dump(self)
        if self.augmentation == "weak":
            del fields["augmentation"]
        if self.precision == "float32":
            del fields["precision"]
        if not self.base:
            del fields["base"]
        return fields

    def rules(self) -> dict[str, Any]:
        """All that can change a result, and the name, as JSON has it."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in ("summary", "base")}

    @property
    def title(self) -> str:
        """The name; with what differs from the base in words, where the name does not say it: ``mine = paper[steps=8000]``."""
        if self.base not in PROTOCOLS:
            return self.name
        words = named(self.base, dict(flat(self)))
        return self.name if self.name == words else f"{self.name} = {words}"


PAPER = Protocol(
    name="paper",
    summary="the field's sizes: U-Net 16-256, Swin-T, 224 px, 30,000 steps; for a GPU",
    steps=30_000,
    batch_labelled=12,
    batch_unlabelled=12,
    image_size=224,
    unet_widths=(16, 32, 64, 128, 256),
    unet_dropout=(0.05, 0.1, 0.2, 0.3, 0.5),
    swin=SwinSize(embed=96, depths=(2, 2, 2, 2), heads=(3, 6, 12, 24), window=7),
    learning_rate=0.01,
    validations=30,
)

PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            name="smoke",
            summary="does it run: seconds a cell; scores mean nothing",
            steps=20,
            batch_labelled=4,
            batch_unlabelled=4,
            image_size=32,
            unet_widths=(4, 8, 16),
            unet_dropout=(0.05, 0.1, 0.2),
            swin=SwinSize(embed=8, depths=(1, 1), heads=(2, 4), window=4),
            learning_rate=0.03,
            validations=2,
        ),
        Protocol(
            name="quick",
            summary="small networks, 64 px, 400 steps: a minute or two a cell on one CPU core; for the phantom, patients need desk",
            steps=400,
            batch_labelled=8,
            batch_unlabelled=8,
            image_size=64,
            unet_widths=(8, 16, 32, 64),
            unet_dropout=(0.05, 0.1, 0.2, 0.3),
            swin=SwinSize(embed=24, depths=(2, 2), heads=(2, 4), window=4),
            learning_rate=0.1,
            validations=5,
        ),
        Protocol(
            name="desk",
            summary="the shortest at which networks learn from patients: 96 px, 2,000 steps, 5 to 20 minutes a cell on one CPU core",
            steps=2_000,
            batch_labelled=8,
            batch_unlabelled=8,
            image_size=96,
            unet_widths=(8, 16, 32, 64, 128),
            unet_dropout=(0.05, 0.1, 0.2, 0.3, 0.5),
            swin=SwinSize(embed=24, depths=(2, 2), heads=(2, 4), window=4),
            learning_rate=0.03,
            validations=10,
        ),
        PAPER,
        PAPER.model_copy(
            update={
                "name": "paper-short",
                "summary": "paper with 4,000 steps and all else the same: a first look, for a GPU",
                "steps": 4_000,
            }
        ),
        PAPER.model_copy(
            update={
                "name": "paper-bf16",
                "summary": "paper with training in bfloat16 (autocast) and all else the same: faster, for a GPU",
                "precision": "bfloat16",
            }
        ),
    )
}


def flat(protocol: Protocol) -> Iterator[tuple[str, Any]]:
    """The rules that can be changed, by name, in order; those of the Swin-UNet as ``swin.window``."""
    for name in Protocol.model_fields:
        value = getattr(protocol, name)
        if isinstance(value, SwinSize):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in SwinSize.model_fields)
        elif name not in ("name", "summary", "base", "version"):
            yield name, value


def named(base: str, values: dict[str, Any]) -> str:
    """``base[rule=value,...]`` with the rules that differ from the preset's; the preset's own name where none does."""
    usual = dict(flat(PROTOCOLS[base]))
    changed = [f"{name}={as_typed(value)}" for name, value in values.items() if value != usual[name]]
    return f"{base}[{','.join(changed)}]" if changed else base
