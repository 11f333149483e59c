"""Whether the rules of a protocol go together, before anything is built from them."""

from __future__ import annotations

import math
import os

from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import Protocol

FLOAT = 4
"""Bytes."""
COPIES = 3
"""Of each weight: itself, its gradient, its momentum."""


def check_feasible(where: str, protocol: Protocol) -> None:
    """Refuse rules that no cell could run under; ``where`` begins the sentence.

    Raises:
        BadInput: naming what does not fit, and what would.
    """
    levels, swin = len(protocol.unet_widths), protocol.swin
    if len(protocol.unet_dropout) != levels:
        raise BadInput(
            f"{where}: unet_widths has {levels} levels and unet_dropout {len(protocol.unet_dropout)}; expected as many of both"
        )
    if levels < 2:
        raise BadInput(f"{where}: unet_widths has one level; expected two or more, such as [8,16,32]")
    if len(swin.heads) != len(swin.depths):
        raise BadInput(
            f"{where}: swin.depths has {len(swin.depths)} levels and swin.heads {len(swin.heads)}; expected as many of both"
        )
    for level, heads in enumerate(swin.heads):
        if (width := swin.embed * 2**level) % heads:
            raise BadInput(
                f"{where}: {heads} heads do not divide the {width} channels of level {level + 1} of the Swin-UNet;"
                " expected a divisor in swin.heads, or another swin.embed"
            )
    if protocol.validations > protocol.steps:
        raise BadInput(
            f"{where}: {protocol.validations} validations in {protocol.steps} steps; expected at most one a step, so set validations too"
        )
    _check_size(where, protocol)
    _check_memory(where, protocol)


def _check_size(where: str, protocol: Protocol) -> None:
    """Both networks halve images exactly, level by level, and the deepest Swin level holds a whole window (networks would pad)."""
    swin, size = protocol.swin, protocol.image_size
    strides = 2 ** (len(protocol.unet_widths) - 1), swin.patch * 2 ** (len(swin.depths) - 1)
    step, least = math.lcm(*strides), max(2 * strides[0], swin.window * strides[1])
    if size % step == 0 and size >= least:
        return
    below, smallest = size // step * step, -(-least // step) * step
    near = [below, below + step] if below >= smallest else [smallest]
    problem = (
        f"is no multiple of {step}, which the depths of the networks need (stride {strides[0]} of the U-Net, {strides[1]} of the Swin-UNet)"
        if size % step
        else f"is less than {least}, which the depth of the U-Net and the Swin-UNet's window of {swin.window} tokens need"
    )
    raise BadInput(f"{where}: image_size {size} {problem}; the next that fit: {' and '.join(map(str, near))}")


def _check_memory(where: str, protocol: Protocol) -> None:
    """What the larger network needs at the very least in a step of training, against this machine's memory."""
    images = protocol.batch_labelled + protocol.batch_unlabelled
    need = max(_unet_bytes(protocol, images), _swin_bytes(protocol, images))
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if need > have:
        raise BadInput(
            f"{where}: a step on {images} images of {protocol.image_size} pixels needs {need / 1e9:,.0f} GB or more, and this machine has"
            f" {have / 1e9:,.0f}; expected smaller batches, images or networks"
        )


def _unet_bytes(protocol: Protocol, images: int) -> int:
    """Weights of four 3x3 convolutions a level, and the outputs of each and of its norm, which gradients need."""
    pixels = protocol.image_size**2
    maps = sum(8 * width * (pixels // 4**level) for level, width in enumerate(protocol.unet_widths))
    weights = sum(36 * width * width for width in protocol.unet_widths)
    return FLOAT * (COPIES * weights + images * maps)


def _swin_bytes(protocol: Protocol, images: int) -> int:
    """Weights of the blocks (12 C^2) and the maps that their gradients need: about 12 of C channels, and the attention of each head."""
    swin, total = protocol.swin, 0
    for level, (depth, heads) in enumerate(zip(swin.depths, swin.heads, strict=True)):
        width, tokens = swin.embed * 2**level, (protocol.image_size // (swin.patch * 2**level)) ** 2
        maps = tokens * (12 * width + heads * swin.window**2)
        total += depth * (COPIES * 12 * width**2 + images * maps)
    return FLOAT * total
