"""What CPS and cross-teaching share: two networks, each learning from labels and from the other's pseudo-labels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datasets.slices import Batch
from methods.method import Method, Step, Task, tunable
from methods.networks.network import Network
from methods.parts.losses import most_likely, supervised_loss
from methods.registered.rsl import RegistrationHparams, RegistrationSupervision


@dataclass(frozen=True)
class Views:
    """What both networks made of one batch, labelled slices first. Tuples hold (A, B).

    features: last decoder maps (N, F, h, w). logits and probabilities: (N, K, P, P), N = L, or L + U where unlabelled ones are used.
    """

    features: tuple[Tensor, Tensor]
    logits: tuple[Tensor, Tensor]
    probabilities: tuple[Tensor, Tensor]


class CoTraining(Method):
    """Networks A (reported) and B; L = L_sup(A) + L_sup(B) + w(t) (exchange(A, Y_B) + exchange(B, Y_A)), Y = argmax, detached."""

    class Hparams(RegistrationHparams):
        weights: ClassVar[tuple[str, ...]] = ("exchange",)
        exchange: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the weight of the other's pseudo-labels")

    reach: ClassVar = {
        "supervised_a": ("a",),
        "supervised_b": ("b",),
        "exchange_a": ("a",),
        "exchange_b": ("b",),
    }
    a: Network
    b: Network

    def build(self, task: Task) -> None:
        self.a = task.unet()
        self.b = self.second(task)
        if self.hp.rsl:
            self.rsl = RegistrationSupervision(task, self.hp)

    @abstractmethod
    def second(self, task: Task) -> Network:
        """Network B, freshly initialised."""

    @abstractmethod
    def exchange(self, logits: Tensor, probabilities: Tensor, pseudo: Tensor) -> Tensor:
        """Loss of one network's output on unlabelled slices against the other's pseudo-labels (U, P, P) int64."""

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        return self.base_terms(self.view(batch), batch, step)

    def view(self, batch: Batch) -> Views:
        """Run both networks once over the slices that are needed."""
        image = batch.image if self.hp.needs_unlabelled else batch.image[: batch.labelled]
        features = (self.a.features(image), self.b.features(image))
        size = (image.shape[-2], image.shape[-1])
        logits = (self.a.head(features[0], size), self.b.head(features[1], size))
        return Views(features, logits, (torch.softmax(logits[0], 1), torch.softmax(logits[1], 1)))

    def base_terms(self, views: Views, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The supervised terms of both networks, the exchange of pseudo-labels, and RSL where it is on."""
        n = batch.labelled
        terms = {
            "supervised_a": supervised_loss(views.logits[0][:n], batch.label),
            "supervised_b": supervised_loss(views.logits[1][:n], batch.label),
        }
        if self.hp.exchange:
            pseudo_a, pseudo_b = (most_likely(p[n:])[1] for p in views.probabilities)
            a = self.exchange(views.logits[0][n:], views.probabilities[0][n:], pseudo_b)
            b = self.exchange(views.logits[1][n:], views.probabilities[1][n:], pseudo_a)
            terms["exchange_a"] = self.hp.exchange * step.ramp * a
            terms["exchange_b"] = self.hp.exchange * step.ramp * b
        if self.hp.rsl:
            _, belief = most_likely((views.probabilities[0] + views.probabilities[1])[n:])
            terms["rsl"] = self.rsl([logits[n:] for logits in views.logits], batch, belief, step)
        return terms

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        a, b = torch.softmax(self.a(image), 1), torch.softmax(self.b(image), 1)
        return {"a": a, "b": b, "mean": (a + b) / 2}
