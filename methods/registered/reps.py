"""REPS, registration-enhanced positive sampling: positives for the contrast from other volumes, at the corresponding place.

Liu et al., WACV 2025. Known: two kinds of positive, the class mean and the registered one, and a memory bank of features. Choices:
the bank's grid, K, and that a registered positive counts only where its class is the anchor's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.registration import Registrations
from datasets.slices import Batch
from methods.method import Task
from methods.parts.contrast import EMBEDDING, Anchors, PixelContrast, pixel_features

STRIDE = 4


class RegisteredPositives(nn.Module):
    """A memory of projected features of all labelled slices, and for every training pixel its registered places in that memory.

    A cell of the memory covers STRIDE x STRIDE pixels of a labelled slice and has that slice's true class at its centre.
    features: (cells, networks, E) buffer, unit vectors, zero until the slice has been visited.
    places: (K, S, P, P) int32, memory cell that a pixel of a slice corresponds to in its k-th best source, or -1.
    """

    features: Tensor

    def __init__(self, task: Task, registrations: Registrations, networks: int, k: int) -> None:
        super().__init__()
        bank = self.bank = task.bank
        self.side = -(-bank.size // STRIDE)
        self.row_of = torch.full((len(bank.image),), -1, dtype=torch.long, device=bank.device)
        self.row_of[bank.labelled] = torch.arange(len(bank.labelled), device=bank.device)
        centres = (torch.arange(self.side, device=bank.device) * STRIDE + STRIDE // 2).clamp(max=bank.size - 1)
        self.centres = torch.cartesian_prod(centres, centres)
        self.label = bank.label[bank.labelled][:, self.centres[:, 0], self.centres[:, 1]].flatten()
        self.places = torch.stack([self._places(registrations, rank) for rank in range(k)]).to(bank.device)
        self.register_buffer("features", torch.zeros(len(self.label), networks, EMBEDDING))

    def _places(self, registrations: Registrations, rank: int) -> Tensor:
        """(S, P, P) int32: for every pixel of the bank its cell in the source of this rank of its volume, -1 where there is none."""
        places = []
        for target, volume in enumerate(self.bank.volumes):
            depth, height, width = volume.image.shape[1:]
            candidates = registrations.candidates[target]
            if rank >= len(candidates):
                places.append(torch.full((depth, self.bank.size, self.bank.size), -1, dtype=torch.int32))
                continue
            candidate = candidates[rank]
            pixels = (torch.arange(self.bank.size) + 0.5) / self.bank.size
            points = torch.cartesian_prod(torch.arange(depth).float(), pixels * height - 0.5, pixels * width - 0.5)
            found = candidate.transform.to_source(points)
            cells = self._cells(candidate.source, found)
            places.append(cells.view(depth, self.bank.size, self.bank.size).to(torch.int32))
        return torch.cat(places)

    def _cells(self, source: int, points: Tensor) -> Tensor:
        """Memory cells of voxels (n, 3) zyx of a labelled volume; -1 outside of it."""
        shape = torch.tensor(self.bank.volumes[source].image.shape[1:])
        inside = ((points > -0.5) & (points < shape - 0.5)).all(1)
        plane = points[:, 0].round().long().clamp(0, int(shape[0]) - 1)
        cell = ((points[:, 1:] + 0.5) / shape[1:] * self.bank.size / STRIDE).floor().long().clamp(0, self.side - 1)
        first = int(self.row_of[self.bank.first[source]])
        return (((first + plane) * self.side + cell[:, 0]) * self.side + cell[:, 1]).where(inside, -1)

    @torch.no_grad()
    def remember(self, maps: list[Tensor], contrast: PixelContrast, batch: Batch) -> None:
        """Overwrite the memory of the batch's labelled slices with each network's projected features (N, F, h, w).

        Cells that the augmentation moved out of the image keep what they had.
        """
        n = batch.labelled
        pixel = batch.targets(n, self.centres)
        item, cell = torch.nonzero(((pixel >= 0) & (pixel < self.bank.size)).all(2), as_tuple=True)
        row, column = pixel[item, cell].unbind(1)
        target = self.row_of[batch.slice[item]] * len(self.centres) + cell
        for network, features in enumerate(maps):
            seen = pixel_features(features, item, row, column, self.bank.size)
            self.features[target, network] = contrast.projector(seen, network).float()  # half where autocast is on

    @torch.no_grad()
    def positives(self, anchors: Anchors, batch: Batch) -> tuple[Tensor, Tensor]:
        """Registered positives (n, E), mean over sources and networks, normalised; and which anchors have one (n,) bool."""
        pixel = batch.sources(anchors.item, torch.stack([anchors.row, anchors.column], 1))
        inside = ((pixel >= 0) & (pixel < self.bank.size)).all(1)
        row, column = pixel.clamp(0, self.bank.size - 1).unbind(1)
        cells = self.places[:, batch.slice[anchors.item], row, column].long()
        features = self.features[cells.clamp(min=0)]
        known = (cells >= 0) & inside & (self.label[cells.clamp(min=0)] == anchors.label)
        total = (features * known[..., None, None]).sum((0, 2))
        norm = total.norm(dim=1)
        return F.normalize(total, dim=1), norm > 0
