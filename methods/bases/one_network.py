"""What methods with one U-Net share: supervision, their own terms on the same pass, RSL where it is on, and a teacher."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.slices import Batch
from methods.method import Method, Step, Task, tunable
from methods.parts.ema import effective_decay, make_teacher, update_teacher
from methods.parts.losses import most_likely, supervised_loss
from methods.registered.rsl import RegistrationHparams, RegistrationSupervision


@dataclass(frozen=True)
class View:
    """What the network made of a batch, labelled slices first: N = L, or L + U where a term needs the unlabelled ones.

    maps: of the encoder's levels, full resolution first. decoded: the deepest one and the decoder's, deepest first. features: (N, F, P, P).
    logits: (N, K, P, P). probabilities: (U, K, P, P), of the unlabelled slices.
    """

    maps: list[Tensor]
    decoded: list[Tensor]
    features: Tensor
    logits: Tensor
    probabilities: Tensor


class OneNetwork(Method):
    """L = L_sup + the method's own terms + RSL where it is on, all from one pass over labelled and unlabelled slices, times ``scale``."""

    class Hparams(RegistrationHparams):
        pass

    def build(self, task: Task) -> None:
        self.network = task.unet()
        if self.hp.rsl:
            self.rsl = RegistrationSupervision(task, self.hp)

    def view(self, image: Tensor, labelled: int) -> View:
        """One pass over images (N, C, P, P), the first ``labelled`` of them labelled."""
        size = (image.shape[-2], image.shape[-1])
        decoded = self.network.decoder(maps := self.network.encode(image))
        features = decoded[-1][..., : size[0], : size[1]]
        logits = self.network.head(features, size)
        return View(maps, decoded, features, logits, torch.softmax(logits[labelled:], 1))

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        n = batch.labelled
        view = self.view(batch.image if self.hp.needs_unlabelled else batch.image[:n], n)
        terms = {"supervised": supervised_loss(view.logits[:n], batch.label)}
        terms |= self.extra(view, batch, step) if self.hp.learns_more else {}
        terms |= self.registered(batch, step, view.logits[n:])
        return {name: self.scale * term for name, term in terms.items()}

    def registered(self, batch: Batch, step: Step, logits: Tensor | None = None) -> dict[str, Tensor]:
        """RSL where it is on, from logits (U, K, P, P) of the unlabelled slices, or from a pass of its own."""
        if not self.hp.rsl:
            return {}
        logits = self.network(batch.image[batch.labelled :]) if logits is None else logits
        return {"rsl": self.rsl([logits], batch, most_likely(torch.softmax(logits, 1))[1], step)}

    @abstractmethod
    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        """The method's own terms, weighted."""

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.network(image), 1)}


class WithTeacher(OneNetwork):
    """One network and its moving average, which teaches it. The student is reported."""

    class Hparams(OneNetwork.Hparams):
        ema_decay: float = tunable(
            0.99, low=0.9, high=0.999, maximum=1, doc="teacher's decay per step of 30,000; else by share"
        )

    def build(self, task: Task) -> None:
        super().build(task)
        self.teacher = make_teacher(self.network)

    @torch.no_grad()
    def taught(self, image: Tensor) -> Tensor:
        """The teacher's class probabilities (N, K, P, P)."""
        return torch.softmax(self.teacher(image), 1)

    @property
    def effective(self) -> dict[str, float]:
        return {"ema_decay": effective_decay(self.hp.ema_decay, self.task.protocol.steps)}

    def after_step(self, step: Step) -> None:
        update_teacher(self.teacher, self.network, self.hp.ema_decay, step)

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"student": torch.softmax(self.network(image), 1), "teacher": torch.softmax(self.teacher(image), 1)}
