"""CCT-R: cross-teaching of a U-Net and a Swin-UNet with pixel contrast, and registration between volumes (RSL and REPS).

Liu, Henderson, Gu, Dai, Deligianni: "Learning Semi-Supervised Medical Image Segmentation from Spatial Registration", WACV 2025. A
re-implementation from the published description; each hyper-parameter says whether it is known, from an ancestor, or our choice.

Deviations from its ancestor MCSC: the U-Net is trained by the protocol's optimiser (there AdamW, which the Swin-UNet and the projector have
here, too); the Swin-UNet starts at random, without drop-path (there ImageNet weights and .2).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from benchmark.ground.registry import register
from datasets.registration import Recipe
from datasets.slices import Batch
from methods.bases.co_training import Views
from methods.cross_teaching import CrossTeaching
from methods.method import Step, Task
from methods.parts.contrast import Candidates, ContrastHparams, PixelContrast, anchor_classes
from methods.parts.losses import most_likely
from methods.registered.reps import SameClass, SamePlace


@register("cctr")
class CCTR(CrossTeaching):
    """L = L_sup + w_cps(t) L_cps + w_cl L_cl + w_rs L_rs. Without its last two terms it is cross-teaching, to the bit."""

    class Hparams(CrossTeaching.Hparams, ContrastHparams):
        weights: ClassVar = ("exchange", "contrast")
        rsl: bool = Field(True, description="registration supervision loss on or off")
        contrastive: bool = Field(True, description="pixel contrast on or off; off, REPS has nothing to act on")
        reps: bool = Field(True, description="registration-enhanced positive sampling on or off")
        reps_positives: Literal["place", "class"] = Field(
            "place",
            description="place: whatever the transform leads to is a positive, and unlabelled pixels where registration puts foreground, "
            "unless the network is sure of something else and sources disagree, are anchors too, weighted by the share of the vote; "
            "class: a place counts only if it has the anchor's class, and no anchors are added [choice]",
        )
        reps_k: int = Field(3, ge=1, le=8, description="labelled volumes, best registered first, that give a positive [choice]")

        @property
        def contrasts(self) -> bool:
            """Whether there is a contrastive term."""
            return self.contrastive and self.contrast > 0

        @property
        def needs_unlabelled(self) -> bool:
            return self.exchange > 0 or self.rsl or self.contrasts

        @property
        def registration_recipe(self) -> Recipe | None:
            return self.recipe if self.rsl or (self.contrasts and self.reps) else None

    def build(self, task: Task) -> None:
        super().build(task)
        widths = [self.a.feature_width, self.b.feature_width]
        if self.hp.contrasts:
            self.contrast = PixelContrast(widths, task.classes, self.hp)
            if self.hp.reps:
                registrations = task.registrations(self.hp.recipe)
                memory = SamePlace if self.hp.reps_positives == "place" else SameClass
                self.reps = memory(task, registrations, len(widths), self.hp.reps_k)

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        views = self.view(batch)
        terms = self.base_terms(views, batch, step)
        if self.hp.contrasts:
            terms["contrast"] = self.hp.contrast * self._contrast(views, batch, step)
        return terms

    def _contrast(self, views: Views, batch: Batch, step: Step) -> Tensor:
        """Contrast over both networks' pixels; on unlabelled slices each takes the other's confident pseudo-label as class."""
        told = [most_likely(p[batch.labelled :]) for p in reversed(views.probabilities)]
        classes = [anchor_classes(batch, pseudo, confidence, self.hp, step) for confidence, pseudo in told]
        candidates, features = Candidates(torch.stack(classes), batch.labelled), list(views.features)
        if not self.hp.reps:
            return self.contrast(features, candidates)
        candidates = self.reps.join(candidates, batch)
        loss = self.contrast(features, candidates, lambda anchors: self.reps.positives(anchors, batch))
        self.reps.remember([f.detach() for f in features], self.contrast, batch)
        return loss
