"""REPS, registration-enhanced positive sampling: positives for the contrast from other volumes, at the corresponding place.

Liu et al., WACV 2025. Known: two kinds of positive, the class mean and the registered one, and a memory bank of features. Choices:
the memory's grid, K, and which positive counts: where the place has the anchor's class (``SameClass``), or wherever the transform leads,
with anchors that registration itself names (``SamePlace``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.registration import Candidate, Registrations, vote
from datasets.registration.transform import vote_weights
from datasets.slices import IGNORE, Batch
from methods.method import Task
from methods.parts.contrast import EMBEDDING, REGISTERED, Anchors, Candidates, PixelContrast, Positives, pixel_features

STRIDE = 4
AGREED = 1 - 1e-4
"""Share of the sources' weight above which all of them agree, but for rounding."""
CELLS = 48
"""Of ``SamePlace``, along an image's side, where that gives cells of two pixels or more: about a myocardium's width [choice]."""


class Memory(nn.Module):
    """A memory of projected features of all labelled slices, one vector for each cell of stride x stride pixels.

    label: (cells,) uint8, the slice's true class at the middle pixel of the cell, whose features are kept.
    """

    def __init__(self, task: Task, stride: int) -> None:
        super().__init__()
        bank = self.bank = task.bank
        self.stride, self.side = stride, -(-bank.size // stride)
        self.row_of = torch.full((len(bank.image),), -1, dtype=torch.long, device=bank.device)
        self.row_of[bank.labelled] = torch.arange(len(bank.labelled), device=bank.device)
        centres = (torch.arange(self.side, device=bank.device) * stride + stride // 2).clamp(max=bank.size - 1)
        self.centres = torch.cartesian_prod(centres, centres)
        self.label = bank.label[bank.labelled][:, self.centres[:, 0], self.centres[:, 1]].flatten()

    def places(self, sources: list[list[Candidate]], rank: int, square: int) -> Tensor:
        """For every pixel of the bank its square of ``square`` pixels in the source of this rank of its volume: (S, P, P) int32.

        A number counts the squares of all labelled slices, row by row; -1 where there is no such source or the place is outside of it.
        """
        places = []
        for volume, candidates in zip(self.bank.volumes, sources, strict=True):
            depth, height, width = volume.shape
            if rank >= len(candidates):
                places.append(torch.full((depth, self.bank.size, self.bank.size), -1, dtype=torch.int32))
                continue
            pixels = (torch.arange(self.bank.size) + 0.5) / self.bank.size
            points = torch.cartesian_prod(torch.arange(depth).float(), pixels * height - 0.5, pixels * width - 0.5)
            found = candidates[rank].transform.to_source(points)
            squares = self._squares(candidates[rank].source, found, square)
            places.append(squares.view(depth, self.bank.size, self.bank.size).to(torch.int32))
        return torch.cat(places).to(self.bank.device)

    def _squares(self, source: int, points: Tensor, square: int) -> Tensor:
        """Squares of voxels (n, 3) zyx of a labelled volume; -1 outside of it."""
        side = -(-self.bank.size // square)
        shape = torch.tensor(self.bank.volumes[source].shape)
        inside = ((points > -0.5) & (points < shape - 0.5)).all(1)
        plane = points[:, 0].round().long().clamp(0, int(shape[0]) - 1)
        at = ((points[:, 1:] + 0.5) / shape[1:] * self.bank.size / square).floor().long().clamp(0, side - 1)
        first = int(self.row_of[self.bank.first[source]])
        return (((first + plane) * side + at[:, 0]) * side + at[:, 1]).where(inside, -1)

    @torch.no_grad()
    def seen(self, maps: list[Tensor], contrast: PixelContrast, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cells (n,) of the batch's labelled slices and each network's projected features there (n, networks, E), from its (N, F, h, w).

        Cells that the augmentation moved out of the image are left out.
        """
        n = batch.labelled
        pixel = batch.targets(n, self.centres)
        item, cell = torch.nonzero(((pixel >= 0) & (pixel < self.bank.size)).all(2), as_tuple=True)
        row, column = pixel[item, cell].unbind(1)
        read = [pixel_features(features, item, row, column, self.bank.size) for features in maps]
        vectors = torch.stack([contrast.projector(each, network) for network, each in enumerate(read)], 1)
        return self.row_of[batch.slice[item]] * len(self.centres) + cell, vectors.float()  # half where autocast is on

    def sources(self, anchors: Anchors, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where anchors came from, all (n,): rows of the bank, image rows and columns, and which lie inside of the slice (bool)."""
        pixel = batch.sources(anchors.item, torch.stack([anchors.row, anchors.column], 1))
        inside = ((pixel >= 0) & (pixel < self.bank.size)).all(1)
        row, column = pixel.clamp(0, self.bank.size - 1).unbind(1)
        return batch.slice[anchors.item], row, column, inside


class SameClass(Memory):
    """Registered positives that the anchor's class confirms: the nearest cell in the K best sources of other cases, if of that class.

    features: (cells, networks, E) buffer, unit vectors, zero until the slice has been visited.
    cells: (K, S, P, P) int32, memory cell that a pixel of a slice corresponds to in its k-th best source, or -1.
    """

    features: Tensor

    def __init__(self, task: Task, registrations: Registrations, networks: int, k: int) -> None:
        super().__init__(task, STRIDE)
        volumes = self.bank.volumes
        of_others = [
            [c for c in candidates if volumes[c.source].case != volume.case]
            for volume, candidates in zip(volumes, registrations.candidates, strict=True)
        ]
        self.cells = torch.stack([self.places(of_others, rank, STRIDE) for rank in range(k)])
        self.register_buffer("features", torch.zeros(len(self.label), networks, EMBEDDING))

    def join(self, candidates: Candidates, batch: Batch) -> Candidates:
        """The candidates as they are."""
        return candidates

    def remember(self, maps: list[Tensor], contrast: PixelContrast, batch: Batch) -> None:
        """Overwrite the memory of the batch's labelled slices; see ``seen``."""
        cells, vectors = self.seen(maps, contrast, batch)
        self.features[cells] = vectors

    @torch.no_grad()
    def positives(self, anchors: Anchors, batch: Batch) -> Positives:
        """Registered positives, mean over sources and networks, normalised."""
        rows, row, column, inside = self.sources(anchors, batch)
        cells = self.cells[:, rows, row, column].long()
        features = self.features[cells.clamp(min=0)]
        known = (cells >= 0) & inside & (self.label[cells.clamp(min=0)] == anchors.label)
        total = (features * known[..., None, None]).sum((0, 2))
        return Positives(F.normalize(total, dim=1), total.norm(dim=1) > 0)


class SamePlace(Memory):
    """Registered positives that the transform finds, whatever the anchor's class, and anchors that registration names.

    Sources are the K best registered volumes, weighted by softmax(10 similarity) as in RSL's vote: of other cases, or where a labelled
    slice has none, of its own. In each the memory is interpolated at the place between cells of the class that the source has there:
    cells beyond a border of its organs take no part.

    features: (cells, E) float16 buffer, mean of the networks' unit vectors, zero until the slice has been visited.
    pixels: (K, S, P, P) int32, pixel of the labelled slices that a pixel of a slice corresponds to in its k-th best source, or -1.
    weights: (K, V) float32. told: (S, P, P) uint8, the vote of the sources; IGNORE where there is none. firm: the same where all of
        them agree, 0 elsewhere.
    """

    features: Tensor

    def __init__(self, task: Task, registrations: Registrations, networks: int, k: int) -> None:
        super().__init__(task, max(2, round(task.bank.size / CELLS)))
        bank, sources = self.bank, [candidates[:k] for candidates in registrations.candidates]
        self.pixels = torch.stack([self.places(sources, rank, 1) for rank in range(k)])
        weights = [vote_weights([c.similarity for c in each]) for each in sources]
        self.weights = torch.stack([F.pad(each, (0, k - len(each))) for each in weights], 1).to(bank.device)
        self.truth = bank.label[bank.labelled].flatten()
        votes = [
            vote(self._labels(self.pixels[:, bank.volume == v]).cpu(), self.weights[:, v].cpu())
            for v in range(len(bank.volumes))
        ]
        told, share = (torch.cat(part).to(bank.device) for part in zip(*votes, strict=True))
        self.told, self.firm = told, told.where((share > AGREED) & (told != IGNORE), 0)
        self.register_buffer("features", torch.zeros(len(self.label), EMBEDDING, dtype=torch.float16))

    def _labels(self, pixels: Tensor) -> Tensor:
        """The true class of pixels of the labelled slices, IGNORE for -1: uint8."""
        return self.truth[pixels.long().clamp(min=0)].where(pixels >= 0, IGNORE)

    def join(self, candidates: Candidates, batch: Batch) -> Candidates:
        """Candidates with pixels of unlabelled slices where registration puts foreground: where the network is not sure, and where it
        is sure of background but all sources agree. Without the latter they die out: networks are soon sure of background everywhere.
        """
        told, firm = self.bank.carry(self.told, batch), self.bank.carry(self.firm, batch)
        label = candidates.label
        unlabelled = torch.arange(label.shape[1], device=label.device)[:, None, None] >= candidates.labelled
        unsure = (label == IGNORE) & (told != IGNORE) & (told > 0)
        joined = unlabelled & (unsure | ((label == 0) & (firm > 0)))
        return Candidates(candidates.label.where(~joined, told), candidates.labelled, joined)

    def remember(self, maps: list[Tensor], contrast: PixelContrast, batch: Batch) -> None:
        """Overwrite the memory of the batch's labelled slices; see ``seen``."""
        cells, vectors = self.seen(maps, contrast, batch)
        self.features[cells] = vectors.mean(1).half()

    @torch.no_grad()
    def positives(self, anchors: Anchors, batch: Batch) -> Positives:
        """Registered positives with the class of the vote; anchors that registration named weigh its share in the sources' weights."""
        rows, row, column, inside = self.sources(anchors, batch)
        pixels = self.pixels[:, rows, row, column].where(inside, -1)
        weights, label = self.weights[:, self.bank.volume[rows]], self._labels(pixels)
        cells, parts = self.interpolation(pixels)
        total = torch.einsum("knc,knce->ne", weights[..., None] * parts, self.features[cells].float())
        share = (weights * (label == anchors.label)).sum(0)
        weight = share.where(anchors.kind == REGISTERED, 1.0)
        told = self.told[rows, row, column].where(inside, IGNORE)
        return Positives(F.normalize(total, dim=1), total.norm(dim=1) > 0, told, weight)

    def interpolation(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """For pixels (K, n) of the labelled slices, or -1, the four cells about each (K, n, 4) and their parts, which add up to 1.

        Bilinear between cells of the pixel's own class; all parts are 0 for -1 and where none of the four cells has that class.
        """
        pixels, label = pixels.long(), self._labels(pixels)
        size = self.bank.size
        at = torch.stack([pixels // size % size, pixels % size], -1).sub(self.stride // 2) / self.stride
        corner = at.new_tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
        nearby = at.floor()[..., None, :] + corner
        row, column = nearby.long().clamp(0, self.side - 1).unbind(-1)
        cells = ((pixels.clamp(min=0) // size**2)[..., None] * self.side + row) * self.side + column
        parts = (1 - (at[..., None, :] - nearby).abs()).prod(-1) * (self.label[cells] == label[..., None])
        return cells, parts / parts.sum(-1, keepdim=True).clamp(min=1e-6)
