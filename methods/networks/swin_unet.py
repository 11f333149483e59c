"""The 2-D Swin-UNet: a Swin transformer encoder with a mirrored decoder and skip connections."""

from __future__ import annotations

import torch
from monai.networks.nets.swin_unetr import PatchMergingV2, SwinTransformerBlock, compute_mask, get_window_size
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.adamw import TrainedByAdamW
from methods.networks.network import Network

PIXEL_CHANNELS = 3


class SwinUNet(Network, TrainedByAdamW):
    """Swin-UNet, Cao et al., ECCV workshops 2022, with MONAI's Swin blocks, randomly initialised.

    The full size (embed 96, depths 2 2 2 2, heads 3 6 12 24, window 7, patch 4) has 27 M parameters. The decoder mirrors the
    encoder above its deepest level; the "1" of the published decoder depths 2 2 2 1 is that level, which in public code is the
    first patch expansion and no further block. A grey image is repeated to three channels, more channels are taken as they are.
    Images (N, channels, H, W) of any size: they are padded to a multiple of the deepest stride and the result is cropped again.
    Features are at 1/patch of the resolution, before the last patch expansion, which belongs to the head.
    Deviations from it in CTCT and MCSC: no drop-path (there .2), no ImageNet weights in the encoder (there those of Swin-T). Without these
    it learns next to nothing by the protocol's gradient descent, so that AdamW trains it (as in MCSC, at .0001 from ImageNet weights).
    """

    rate, decay = 1e-3, 5e-4

    def __init__(
        self,
        channels: int,
        classes: int,
        embed: int = 96,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
        patch: int = 4,
    ) -> None:
        super().__init__()
        self.grey, self.patch = channels == 1, patch
        self.feature_width = embed
        widths = [embed * 2**level for level in range(len(depths))]
        self.embed = nn.Conv2d(PIXEL_CHANNELS if self.grey else channels, embed, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(embed)
        self.encoder = nn.ModuleList(_Stage(w, d, h, window) for w, d, h in zip(widths, depths, heads, strict=True))
        self.merge = nn.ModuleList(PatchMergingV2(w, spatial_dims=2) for w in widths[:-1])
        self.norm = nn.LayerNorm(widths[-1])
        deeper = list(range(len(depths) - 1))[::-1]
        self.expand = nn.ModuleList(_Expand(widths[level + 1], widths[level], 2) for level in deeper)
        self.fuse = nn.ModuleList(nn.Linear(2 * widths[level], widths[level]) for level in deeper)
        self.decoder = nn.ModuleList(_Stage(widths[level], depths[level], heads[level], window) for level in deeper)
        self.norm_up = nn.LayerNorm(embed)
        self.expand_pixels = _Expand(embed, embed, patch)
        self.classify = nn.Conv2d(embed, classes, 1, bias=False)

    @property
    def stem(self) -> nn.Module:
        """The part that every pass of images goes through once."""
        return self.embed

    def features(self, image: Tensor) -> Tensor:
        """The last decoder map at 1/patch of the resolution, (N, embed, ceil(H/patch), ceil(W/patch))."""
        height, width = image.shape[-2:]
        stride = self.patch * 2 ** len(self.merge)
        x = F.pad(image.expand(-1, PIXEL_CHANNELS, -1, -1) if self.grey else image, (0, -width % stride, 0, -height % stride))
        x = self.embed_norm(self.embed(x).movedim(1, -1))
        skips = []
        for stage, merge in zip(self.encoder, [*self.merge, nn.Identity()], strict=True):
            x = stage(x)
            skips.append(x)
            x = merge(x)
        x = self.norm(skips.pop())
        for expand, fuse, stage in zip(self.expand, self.fuse, self.decoder, strict=True):
            x = stage(fuse(torch.cat([expand(x), skips.pop()], -1)))
        return self.norm_up(x).movedim(-1, 1)[..., : -(-height // self.patch), : -(-width // self.patch)]

    def head(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Class logits (N, classes, *size) from ``features`` of images of that size."""
        x = self.expand_pixels(features.movedim(1, -1)).movedim(-1, 1)
        return self.classify(x)[..., : size[0], : size[1]]


class _Stage(nn.Module):
    """Blocks of one level on (N, H, W, C), windows shifted in every second one."""

    def __init__(self, width: int, depth: int, heads: int, window: int) -> None:
        super().__init__()
        self.window, self.shift = (window, window), (window // 2, window // 2)
        self.blocks = nn.ModuleList(
            SwinTransformerBlock(width, heads, self.window, self.shift if i % 2 else (0, 0)) for i in range(depth)
        )
        self.masks: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        # MONAI would shrink the window instead, and then look up relative positions of the wrong pairs.
        x = F.pad(x, (0, 0, 0, max(0, self.window[1] - width), 0, max(0, self.window[0] - height)))
        mask = self._mask(x.shape[1], x.shape[2], x.device)
        for block in self.blocks:
            x = block(x, mask)
        return x[:, :height, :width]

    def _mask(self, height: int, width: int, device: torch.device) -> Tensor:
        """Attention mask of shifted windows, made once a size. Blocks pad to whole windows and do not shift a single one."""
        key = (height, width, device)
        if key not in self.masks:
            window, shift = get_window_size((height, width), self.window, self.shift)
            padded = [-(-side // w) * w for side, w in zip((height, width), window, strict=True)]
            self.masks[key] = compute_mask(padded, window, shift, device)
        return self.masks[key]


class _Expand(nn.Module):
    """Patch expanding: (N, H, W, inputs) to (N, factor H, factor W, outputs) by a linear map, rearrangement and layer norm."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, factor * factor * outputs, bias=False)
        self.norm = nn.LayerNorm(outputs)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, _ = x.shape
        f = self.factor
        x = self.linear(x).view(n, height, width, f, f, -1).permute(0, 1, 3, 2, 4, 5)
        return self.norm(x.reshape(n, height * f, width * f, -1))
