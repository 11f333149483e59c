"""``--protocol`` and ``--precision``: from words, and a measurement of this machine where it is asked for, to the rules of cells."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.console import note
from benchmark.ground.errors import BadInput

if TYPE_CHECKING:
    from benchmark.ground.protocol import Protocol
    from benchmark.launchers.site import Site

ProtocolOption = Annotated[
    str,
    typer.Option(
        help="smoke, quick, desk, paper-short, paper or paper-bf16 (see `ls protocols`), one of them with rules of your own,"
        " name[rule=value,...], or a YAML file of `base` and rules."
    ),
]
MUCH_FASTER = 0.9
"""Share of float32's time below which --precision auto takes bfloat16."""


class Precision(StrEnum):
    """Of networks in training."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    auto = "auto"


PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="Of networks in training, a rule of the protocol: float32, bfloat16 (autocast), or auto, which measures whether this machine"
        " is much faster with bfloat16.  [default: the protocol's]"
    ),
]


def rules_of(words: str, precision: Precision | None, site: Callable[[], Site]) -> Protocol:
    """The protocol that the options name. words: of ``--protocol``.

    Raises:
        BadInput: there is none such, or a precision is to be measured where no cell will run.
    """
    from benchmark.ground.rules import get_protocol

    if precision is not Precision.auto:
        return get_protocol(words, precision and precision.value)
    protocol = get_protocol(words, "float32")
    if (at := site()).remote:
        raise BadInput("--precision auto measures this machine, and cells run on others; expected float32 or bfloat16")
    from benchmark.cell.costs import half_precision_share

    share = half_precision_share(protocol, at.device)
    chosen = "bfloat16" if share < MUCH_FASTER else "float32"
    note(f"precision: {chosen}; a step in bfloat16 takes {share:.2f} of one in float32 here")
    return get_protocol(words, chosen)
