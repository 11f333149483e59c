"""Supervised pixel contrast in one feature space shared by all networks of a method.

Liu et al., "Learning Semi-Supervised Medical Image Segmentation from Spatial Registration", WACV 2025 (eq. 5), and its parent MCSC
(Liu et al., BMVC 2023). Marks as in the specification: known, ancestor, choice. Pixels are sampled first and only those are projected,
so that memory is bounded by the sample and not by the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.slices import IGNORE, Batch
from methods.method import Method, Step, tunable
from methods.networks.adamw import TrainedByAdamW
from methods.parts.observed import Observed

HIDDEN, EMBEDDING = 256, 128
KINDS = ("labelled", "confident", "registered")
"""Of anchors, by where their class is from: the truth, a confident pseudo-label, registration."""
REGISTERED = KINDS.index("registered")


class ContrastHparams(Method.Hparams):
    """Hyper-parameters of the contrastive term."""

    contrast: float = tunable(
        0.002,
        low=1e-3,
        high=1,
        log=True,
        doc="weight of the contrastive term [ancestor, kept: .1 was no better beside RSL]",
    )
    anchors: int = Field(1000, ge=2, description="at most this many anchors a class [known]")
    negatives: int = Field(500, ge=1, description="negatives an anchor, balanced over the other classes [known]")
    temperature: float = tunable(0.1, low=0.03, high=0.5, log=True, minimum=1e-3, doc="InfoNCE temperature [ancestor]")
    confidence: float = tunable(
        0.7,
        low=0.5,
        high=0.95,
        maximum=1,
        doc="unlabelled anchors need a pseudo-label with a top-1 probability above this [choice]",
    )
    contrast_start: float = tunable(
        0.1, low=0, high=0.3, maximum=1, doc="unlabelled pixels join after this part of the steps [ancestor: 3,000 of 40,000]"
    )


@dataclass(frozen=True)
class Candidates:
    """The pixels that may become anchors; of N slices the first ``labelled`` have their true classes.

    label: (networks, N, P, P) int64, IGNORE where a pixel is no candidate. registered: bool like it, whose class registration gave; None:
    of none.
    """

    label: Tensor
    labelled: int
    registered: Tensor | None = None


@dataclass(frozen=True)
class Anchors:
    """The sampled pixels of one class. All fields have n rows: network, row of the batch, image row and column, kind, embedding (n, E)."""

    label: int
    network: Tensor
    item: Tensor
    row: Tensor
    column: Tensor
    kind: Tensor
    embedding: Tensor


class Positives(NamedTuple):
    """Registered positives of n anchors: vectors (n, E), and which of them exist, (n,) bool.

    label: (n,) class at the place, whose negatives are left out beside it; None: none are. weight: (n,) of the anchors; None: all 1.
    """

    vectors: Tensor
    found: Tensor
    label: Tensor | None = None
    weight: Tensor | None = None


Registered = Callable[[Anchors], Positives]
"""Finds the registered positives of anchors."""


class Projector(TrainedByAdamW):
    """1x1 convolution to 256 (one per network, their features differ in width), ReLU, 1x1 to 128 shared by all, L2 norm [ancestor].

    Trained as in MCSC's train_MCSC_2D_256_28.py (lines 302-306, 437-442): AdamW of its own, whatever the weight of the contrast is.
    """

    rate, decay = 5e-4, 5e-4

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.entry = nn.ModuleList(nn.Linear(width, HIDDEN) for width in widths)
        self.shared = nn.Linear(HIDDEN, EMBEDDING)

    def forward(self, features: Tensor, network: int) -> Tensor:
        """(n, F) pixel features of a network to (n, 128) unit vectors."""
        return F.normalize(self.shared(torch.relu(self.entry[network](features))), dim=1)


def pixel_features(maps: Tensor, item: Tensor, row: Tensor, column: Tensor, size: int) -> Tensor:
    """Features (n, F) of image pixels from maps (N, F, h, w) that cover size x size pixels at their own resolution."""
    height, width = maps.shape[2:]
    rows = (row * height).div(size, rounding_mode="floor")
    columns = (column * width).div(size, rounding_mode="floor")
    return maps[item, :, rows, columns]


def anchor_classes(batch: Batch, pseudo: Tensor, confidence: Tensor, hp: ContrastHparams, step: Step) -> Tensor:
    """Class of each pixel as an anchor, (L+U, P, P): truth on labelled slices, confident pseudo-labels on unlabelled ones.

    pseudo, confidence: (U, P, P), class and top-1 probability from the network that teaches. IGNORE where a pixel is no candidate.
    """
    joined = step.fraction >= hp.contrast_start
    chosen = pseudo.where((confidence > hp.confidence) & joined, IGNORE)
    return torch.cat([batch.label, chosen])


class PixelContrast(Observed):
    """Pulls pixels of one class together and pushes classes apart; positives are class means, and registered ones where given."""

    def __init__(self, widths: list[int], classes: int, hp: ContrastHparams) -> None:
        super().__init__()
        self.projector = Projector(widths)
        self.classes = classes
        self.hp = hp
        self.latest: list[tuple[int, Tensor, Tensor | None]] = []
        """Of the latest step, for every class present: the class, its anchors' kinds (n,), and which have a registered positive (n,)."""

    def forward(self, features: list[Tensor], candidates: Candidates, registered: Registered | None = None) -> Tensor:
        """Mean InfoNCE over the classes present, from each network's feature maps (N, F, h, w) and the candidates in them.

        0 where fewer than two classes have at least two candidates.
        """
        groups = self._sample(features, candidates)
        self.latest = []
        if len(groups) < 2:
            return torch.stack([f.sum() for f in features]).sum() * 0.0
        losses = []
        for group in groups:
            negatives, label = self._negatives([g for g in groups if g is not group])
            loss = info_nce(group.embedding, class_mean_positives(group.embedding), negatives, self.hp.temperature)
            positives = None if registered is None else registered(group)
            if positives is not None:
                left_out = None if positives.label is None else positives.label[:, None] == label
                second = info_nce(group.embedding, positives.vectors, negatives, self.hp.temperature, left_out)
                loss = torch.where(positives.found, (loss + second) / 2, loss)
                loss = loss if positives.weight is None else positives.weight * loss
            losses.append(loss.mean())
            self.latest.append((group.label, group.kind, None if positives is None else positives.found))
        return torch.stack(losses).mean()

    def observations(self) -> dict[str, float]:
        """``anchors/<kind>/<class>``, and ``positives/<kind>``, the share of a kind's anchors that have a registered positive."""
        registers = any(found is not None for *_, found in self.latest)
        counts, having = torch.zeros(self.classes, len(KINDS)), torch.zeros(len(KINDS))
        for label, kind, found in self.latest:
            counts[label] = kind.cpu().bincount(minlength=len(KINDS))
            having += 0 if found is None else kind[found].cpu().bincount(minlength=len(KINDS))
        told: dict[str, float] = {}
        for number, name in enumerate(KINDS if registers else KINDS[:REGISTERED]):
            of = counts[:, number]
            told |= {f"anchors/{name}/{k}": float(count) for k, count in enumerate(of)}
            told |= {f"positives/{name}": float(having[number] / of.sum())} if registers and of.sum() else {}
        return told

    def _sample(self, features: list[Tensor], candidates: Candidates) -> list[Anchors]:
        """At most ``anchors`` random candidates of each class from the union of all networks' pixels (networks, N, P, P).

        The features of all classes are read at once: one gradient the size of the feature maps, not one a class.
        """
        classes, found = candidates.label, []
        for label in range(self.classes):
            pixels = torch.nonzero(classes.flatten() == label)[:, 0]
            if len(pixels) >= 2:
                picked = torch.randperm(len(pixels), device=pixels.device)[: self.hp.anchors]
                found.append((label, pixels[picked].sort().values))  # the first axis is the network: sorted by network
        if not found:
            return []
        pixels = torch.cat([picked for _, picked in found])
        places = torch.stack(torch.unravel_index(pixels, classes.shape), 1)
        embedding = features[0].new_zeros(len(pixels), EMBEDDING)
        for number, maps in enumerate(features):
            of = torch.nonzero(places[:, 0] == number)[:, 0]
            _, item, row, column = places[of].unbind(1)
            seen = self.projector(pixel_features(maps, item, row, column, classes.shape[-1]), number)
            embedding = embedding.index_copy(0, of, seen)
        kind = (places[:, 1] >= candidates.labelled).long()
        if candidates.registered is not None:
            kind = kind.masked_fill(candidates.registered.flatten()[pixels], REGISTERED)
        sizes = [len(picked) for _, picked in found]
        parts = zip(found, places.split(sizes), kind.split(sizes), embedding.split(sizes), strict=True)
        return [Anchors(label, p[:, 0], p[:, 1], p[:, 2], p[:, 3], of, vectors) for (label, _), p, of, vectors in parts]

    def _negatives(self, others: list[Anchors]) -> tuple[Tensor, Tensor]:
        """``negatives`` embeddings (O, E), the same number from each other class, shared by a class's anchors; and their classes (O,)."""
        each = -(-self.hp.negatives // len(others))
        vectors = [g.embedding[torch.randint(len(g.embedding), (each,), device=g.embedding.device)] for g in others]
        label = [torch.full((each,), g.label, device=g.embedding.device) for g in others]
        return torch.cat(vectors)[: self.hp.negatives], torch.cat(label)[: self.hp.negatives]


def class_mean_positives(embedding: Tensor) -> Tensor:
    """Mean of the *other* anchors of the class, normalised again (CCT-R eq. 5, known). (n, E) to (n, E), n >= 2."""
    total = embedding.sum(0, keepdim=True)
    return F.normalize((total - embedding) / (len(embedding) - 1), dim=1)


def info_nce(
    anchors: Tensor, positives: Tensor, negatives: Tensor, temperature: float, left_out: Tensor | None = None
) -> Tensor:
    """-log exp(a.p/tau) / (exp(a.p/tau) + sum_o exp(a.n_o/tau)) for each anchor; unit vectors (n, E), (n, E), (O, E) to (n,).

    left_out: (n, O) bool, negatives that an anchor does without.
    """
    positive = (anchors * positives).sum(1, keepdim=True)
    similarity = anchors @ negatives.T
    if left_out is not None:
        similarity = similarity.masked_fill(left_out, -torch.inf)
    logits = torch.cat([positive, similarity], 1) / temperature
    return torch.logsumexp(logits, 1) - logits[:, 0]
