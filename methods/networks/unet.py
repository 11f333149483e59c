"""The 2-D U-Net of the field's benchmarks (SSL4MIS): widths 16-32-64-128-256, batch norm, leaky ReLU, encoder dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """U-Net, Ronneberger et al., MICCAI 2015, as in SSL4MIS (code/networks/unet.py) with transposed-convolution upsampling.

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
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in pairs)
        self.decoder = nn.ModuleList(_block(2 * shallow, shallow, 0.0) for _, shallow in pairs)
        self.classify = nn.Conv2d(widths[0], classes, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, image: Tensor) -> Tensor:
        """The last decoder map, (N, widths[0], H, W)."""
        height, width = image.shape[-2:]
        stride = 2 ** len(self.up)
        x = F.pad(image, (0, -width % stride, 0, -height % stride))
        skips = []
        for level, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return x[..., :height, :width]

    def head(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Class logits (N, classes, *size) from ``features`` of images of that size."""
        return self.classify(features)[..., : size[0], : size[1]]

    def forward(self, image: Tensor) -> Tensor:
        """Class logits (N, classes, H, W)."""
        return self.head(self.features(image), (image.shape[-2], image.shape[-1]))


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
