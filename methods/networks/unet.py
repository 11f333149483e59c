"""The 2-D U-Net of the field's benchmarks (SSL4MIS): widths 16-32-64-128-256, batch norm, leaky ReLU, encoder dropout."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.network import Network


class UNet(Network):
    """U-Net, Ronneberger et al., MICCAI 2015, as in SSL4MIS (code/networks/unet.py), where its parameters' "bilinear: False" is not read.

    One level for each of ``widths``. Images (N, channels, H, W) of any size: they are padded to a multiple of the deepest
    stride and the result is cropped again. Features are at full resolution. Channels-last weights are cheaper on a CPU.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256),
        dropout: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5),
    ) -> None:
        super().__init__()
        self.feature_width = widths[0]
        inputs = (channels, *widths[:-1])
        self.encoder = nn.ModuleList(_block(i, w, d) for i, w, d in zip(inputs, widths, dropout, strict=True))
        self.decoder = Decoder(widths)
        self.classify = nn.Conv2d(widths[0], classes, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def stem(self) -> nn.Module:
        """The part that every pass of images goes through once."""
        return self.encoder[0]

    def encode(self, image: Tensor) -> list[Tensor]:
        """The maps of all levels, full resolution (of the padded image) first."""
        height, width = image.shape[-2:]
        stride = 2 ** (len(self.encoder) - 1)
        x = F.pad(image, (0, -width % stride, 0, -height % stride))
        maps = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps

    def features(self, image: Tensor) -> Tensor:
        """The last decoder map, (N, widths[0], H, W)."""
        return self.decoder(self.encode(image))[-1][..., : image.shape[-2], : image.shape[-1]]

    def head(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Class logits (N, classes, *size) from ``features`` of images of that size."""
        return self.classify(features)[..., : size[0], : size[1]]


class Decoder(nn.Module):
    """The U-Net's expanding path. upsampling: "transposed" convolution, or a 1x1 convolution and "bilinear" or "nearest"."""

    def __init__(self, widths: tuple[int, ...], upsampling: Literal["transposed", "bilinear", "nearest"] = "bilinear") -> None:
        super().__init__()
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_up(deep, shallow, upsampling) for deep, shallow in pairs)
        self.blocks = nn.ModuleList(_block(2 * shallow, shallow, 0.0) for _, shallow in pairs)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """The encoder's deepest map and those of its own levels, deepest first, from the encoder's, full resolution first."""
        *skips, x = maps
        found = [x]
        for up, block in zip(self.up, self.blocks, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], 1))
            found.append(x)
        return found


def _up(deep: int, shallow: int, upsampling: str) -> nn.Module:
    if upsampling == "transposed":
        return nn.ConvTranspose2d(deep, shallow, 2, stride=2)
    corners = True if upsampling == "bilinear" else None
    return nn.Sequential(nn.Conv2d(deep, shallow, 1), nn.Upsample(scale_factor=2, mode=upsampling, align_corners=corners))


def _block(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Two of (3x3 convolution, batch norm, leaky ReLU), dropout between them."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(inplace=True),
        nn.Dropout(dropout) if dropout else nn.Identity(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(inplace=True),
    )
