"""RSL, registration supervision loss: labels carried over from labelled volumes by registration as further pseudo-labels.

Liu et al., WACV 2025. That transforms carry labels over is known; how a source is chosen for a target is a choice, described here.
Any method may switch it on: it needs only the networks' outputs on unlabelled slices.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from datasets.registration import Recipe, Registrations, vote_by_similarity, warp_label
from datasets.slices import IGNORE, Batch, resize_label, tensor_of
from methods.method import Method, Segmenter, Step, Task, tunable
from methods.parts.losses import supervised_loss


class TransformHparams(Segmenter.Hparams):
    """What may be chosen about the transforms between volumes."""

    registration: Literal["deformable", "affine", "identity"] = Field(
        "deformable", description="kind of transform between volumes; identity is the control [choice]"
    )
    similarity: Literal["lncc", "ncc"] = Field(
        "lncc", description="what registration climbs: local or global normalised cross-correlation [choice]"
    )

    @property
    def recipe(self) -> Recipe:
        """The registrations that these values name."""
        return Recipe(self.registration, self.similarity)


class RegistrationHparams(TransformHparams, Method.Hparams):
    """Hyper-parameters of the registration supervision loss, off by default: a method whose own term it is switches it on."""

    rsl: bool = Field(False, description="registration supervision loss on or off")
    rsl_weight: float = tunable(
        0.3, low=0.01, high=3, log=True, doc="constant weight of RSL; .3 did better than .1 on ACDC validation cases [choice]"
    )
    rsl_source: Literal["similarity", "agreement", "vote"] = Field(
        "vote",
        description="which warped label a target learns from: best image similarity, best agreement with the current pseudo-label, "
        "or a vote of all candidates weighted by softmax(10 similarity), which measured best [choice]",
    )
    rsl_confidence: float = Field(
        0,
        ge=0,
        le=1,
        description="share of the vote below which RSL ignores a pixel; 0 ignores none; with rsl_source=vote [choice]",
    )
    rsl_refresh: float = tunable(
        0.1, low=0.02, high=0.3, minimum=0.001, maximum=1, doc="part of the steps between two looks at the agreement [choice]"
    )

    @property
    def needs_unlabelled(self) -> bool:
        return super().needs_unlabelled or self.rsl

    @property
    def registration_recipe(self) -> Recipe | None:
        return self.recipe if self.rsl else None


class RegistrationSupervision(nn.Module):
    """Holds the warped labels of every training volume's candidate sources and picks one candidate for each volume.

    overlap, mass: (V, M, K) buffers, agreement counts of candidate m of volume v with the pseudo-labels seen since the last look.
    """

    overlap: Tensor
    mass: Tensor
    choice: Tensor

    def __init__(self, task: Task, hp: RegistrationHparams) -> None:
        super().__init__()
        self.bank = task.bank
        self.classes = task.classes
        self.hp = hp
        self.warped = warped_labels(task, task.registrations(hp.recipe), hp.rsl_source == "vote", hp.rsl_confidence)
        volumes = len(self.bank.volumes)
        self.register_buffer("choice", torch.zeros(volumes, dtype=torch.long))
        self.register_buffer("overlap", torch.zeros(volumes, len(self.warped), self.classes - 1))
        self.register_buffer("mass", torch.zeros(volumes, len(self.warped), self.classes - 1))

    def forward(self, logits: list[Tensor], batch: Batch, pseudo: Tensor, step: Step) -> Tensor:
        """Sum over networks of 1/2 (CE + Dice) against the chosen warped label, on unlabelled slices.

        logits: each network's (U, K, P, P). pseudo: (U, P, P), what the method now believes, for the choice of the source.
        """
        rows = batch.slice[batch.labelled :]
        volumes = self.bank.volume[rows]
        candidates = self._carried(batch)
        if self.hp.rsl_source == "agreement":
            self._observe(candidates, volumes, pseudo, step)
        target = candidates[self.choice[volumes], torch.arange(len(rows), device=rows.device)]
        return self.hp.rsl_weight * torch.stack([supervised_loss(each, target) for each in logits]).sum()

    def _carried(self, batch: Batch) -> Tensor:
        """Every candidate's warped label under the augmentation of the batch's unlabelled slices: (M, U, P, P) int64."""
        return torch.stack([self.bank.carry(stack, batch)[batch.labelled :] for stack in self.warped])

    @torch.no_grad()
    def _observe(self, candidates: Tensor, volumes: Tensor, pseudo: Tensor, step: Step) -> None:
        """Count the agreement of candidates (M, U, P, P) with the pseudo-label; at every look choose anew and start counting again."""
        every = max(1, round(self.hp.rsl_refresh * step.total))
        if step.index and step.index % every == 0:
            seen = self.mass.sum((1, 2)) > 0
            dice = (2 * self.overlap / self.mass.clamp(min=1)).mean(2)
            self.choice.copy_(dice.argmax(1).where(seen, self.choice))
            self.overlap.zero_()
            self.mass.zero_()
        for index in range(1, self.classes):
            known = candidates != IGNORE
            found, told = candidates == index, (pseudo == index) & known
            self.overlap[:, :, index - 1].index_add_(0, volumes, (found & told).sum((2, 3)).T.float())
            self.mass[:, :, index - 1].index_add_(0, volumes, (found.sum((2, 3)) + told.sum((2, 3))).T.float())


def warped_labels(task: Task, registrations: Registrations, voted: bool, confidence: float = 0) -> Tensor:
    """Warped labels on the bank's slices: (M, S, P, P) uint8, best similarity first; IGNORE where a volume has fewer candidates.

    voted: M = 1, the vote of all candidates weighted by similarity, instead of the candidates themselves; IGNORE where the winner's share
    is below ``confidence``. Labels are warped on the volume's native grid and then resized as its own label would be.
    """
    bank = task.bank
    stacks: list[list[Tensor]] = []
    for target, volume in enumerate(bank.volumes):
        candidates = registrations.candidates[target] if not volume.labelled else []
        labels = [warp_label(c.transform, tensor_of(bank.volumes[c.source].label)) for c in candidates]
        if voted and labels:
            label, share = vote_by_similarity(labels, [c.similarity for c in candidates])
            labels = [label.where(share >= confidence, IGNORE)]
        stacks.append([resize_label(label, bank.size) for label in labels])
    most = max(1, max(map(len, stacks)))
    empty = [torch.full((v.shape[0], bank.size, bank.size), IGNORE, dtype=torch.uint8) for v in bank.volumes]
    filled = [[*stack, *[nothing] * (most - len(stack))] for stack, nothing in zip(stacks, empty, strict=True)]
    return torch.stack([torch.cat([stack[m] for stack in filled]) for m in range(most)]).to(bank.device)
