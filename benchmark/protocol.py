"""Protocols: named sets of rules that are equal for all methods.

Values of ``paper`` are the field's common recipe (SSL4MIS: SGD .01, momentum .9, weight decay 1e-4, polynomial decay .9, 30,000
steps) at the image size of cross-teaching, 224 pixels, which the Swin-UNet needs. ``paper-short`` is the same with 4,000 steps; ramps and
decay are fractions of the steps. ``paper-bf16`` is the same in half precision. ``quick`` and ``smoke`` are the same rules, shorter, with
narrower and shallower versions of the same two networks.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from benchmark.errors import BadInput


class SwinSize(BaseModel):
    """Size of the Swin-UNet: channels after patch embedding, blocks and heads a level, window and patch in tokens and pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int = 4


class Protocol(BaseModel):
    """What every method gets alike: steps, batch, image size, networks' sizes, optimiser, schedule, selection."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    summary: str
    version: int = 1
    steps: int
    batch_labelled: int
    batch_unlabelled: int
    image_size: int
    """Side of the square slices that networks see, pixels."""
    unet_widths: tuple[int, ...]
    unet_dropout: tuple[float, ...]
    swin: SwinSize
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9
    """Learning rate at step t of T: learning_rate * (1 - t/T)^power."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of networks in training: bfloat16 is autocast, with weights, optimiser and predictions in float32."""
    validations: int
    """How many times the validation cases are scored, evenly spread, the last after the last step."""
    tolerance: float = 2.0
    """NSD's tolerance for every class, mm (voxels where the data has no spacing)."""

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the usual precision: cells from before there were two keep their ids."""
        fields: dict[str, Any] = dump(self)
        if self.precision == "float32":
            del fields["precision"]
        return fields


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
            summary="small networks, 64 px: about two minutes a cell on one CPU core; methods can be told apart",
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


def get_protocol(name: str) -> Protocol:
    """The preset called ``name``.

    Raises:
        BadInput: no such preset.
    """
    if name not in PROTOCOLS:
        raise BadInput(f"no protocol is called {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
