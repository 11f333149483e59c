"""SS-Net: outputs stay the same under the change of the image that moves them most, and pixels of a class draw near to its prototypes.

Wu et al., MICCAI 2022 (github.com/ycwu1997/SS-Net, code/train_ss_2d.py; utils/losses.py, feature_memory.py, contrastive_losses.py). As in
that code background has no prototypes, and those kept are of the lowest weights; weights of prototypes cancel there and are left out.

Deviations: supervision is 1/2 (CE + Dice), the field's (there: Dice alone); smoothness is measured from the output that is supervised, too
(there: from that of a pass of its own); until a class is first found its prototypes are of all its labelled pixels (there: none).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.ground.registry import register
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, Task, tunable
from methods.parts.adversarial import smoothness
from methods.parts.losses import most_likely

WIDTH = 32
"""Of embeddings."""


@register("ss_net")
class SSNet(OneNetwork):
    """L = L_sup + w(t) [Dice(p, p(image + r)) + .1 separation], r of length 6 in the direction that moves p most, on all slices.

    Separation: mean over classes and pixels of 1 - cos(pixel, prototypes), pixels weighted by a small network of the class; labelled ones
    belong to their true class, unlabelled ones to the argmax. Prototypes: projections of labelled pixels last found right.
    """

    memory: Tensor
    """(K, prototypes, WIDTH), of which ``kept`` (K,) are in use."""
    kept: Tensor

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of both terms")
        separation: float = tunable(0.1, low=0.01, high=1, log=True, doc="weight of separation beside smoothness")
        magnitude: float = tunable(6, low=1, high=20, log=True, minimum=1e-3, doc="length of the change of an image")
        prototypes: int = Field(32, ge=2, description="at most this many prototypes a class")

    def build(self, task: Task) -> None:
        super().build(task)
        self.project, self.predict = _mlp(self.network.feature_width, WIDTH), _mlp(WIDTH, WIDTH)
        self.project[3].bias.requires_grad_(False)  # the batch normalisation that follows takes it away
        self.weigh = nn.ModuleList(_mlp(WIDTH, 1, 0.2) for _ in range(1, task.classes))
        self.register_buffer("memory", torch.zeros(task.classes, self.hp.prototypes, WIDTH))
        self.register_buffer("kept", torch.zeros(task.classes, dtype=torch.long))

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        n, weight = batch.labelled, self.hp.consistency * step.ramp
        p, pixels = torch.softmax(view.logits.detach(), 1), view.features.movedim(1, -1)
        found = most_likely(p)[1]
        labelled, unlabelled = pixels[:n].flatten(0, 2), pixels[n:].flatten(0, 2)
        self.remember(labelled.detach(), batch.label.flatten(), found[:n].flatten())
        separation = self.separation(labelled, batch.label.flatten()) + self.separation(unlabelled, found[n:].flatten())
        return {
            "smoothness": weight * smoothness(self.network, batch.image, p, self.hp.magnitude),
            "separation": weight * self.hp.separation * separation,
        }

    @torch.no_grad()
    def remember(self, pixels: Tensor, label: Tensor, found: Tensor) -> None:
        """Takes prototypes from pixels (n, F) of which label and argmax (n,) agree."""
        self.project.eval()
        for k, weigh in enumerate(self.weigh, 1):
            right = (label == k) & (found == k)
            vectors = self.project(pixels[right if right.any() or self.kept[k] else label == k])
            if len(vectors) > self.hp.prototypes:
                vectors = vectors[weigh(vectors)[:, 0].argsort()[: self.hp.prototypes]]
            if len(vectors):
                self.memory[k, : len(vectors)] = vectors
                self.kept[k] = len(vectors)
        self.project.train()

    def separation(self, pixels: Tensor, label: Tensor) -> Tensor:
        """Mean over classes of the weighted distances of pixels (n, F), whose classes are ``label`` (n,), to prototypes."""
        seen = self.predict(self.project(pixels))
        losses = [0 * seen.sum()]
        for k, weigh in enumerate(self.weigh, 1):
            own, kept = seen[label == k], F.normalize(self.memory[k, : self.kept[k]], dim=1)
            if len(own) > 1 and len(kept) > 1:
                weight = torch.sigmoid(weigh(own.detach()))
                losses.append(((1 - F.normalize(own, dim=1) @ kept.T) * weight / weight.mean()).mean())
        return torch.stack(losses).sum() / self.task.classes


def _mlp(inputs: int, outputs: int, slope: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.BatchNorm1d(WIDTH), nn.LeakyReLU(slope, inplace=True), nn.Linear(WIDTH, outputs)
    )
