"""AD-MT: two teachers that take turns in following the student, each with a kind of strong view, and what comes of their conflicts.

Zhao et al., ECCV 2024 (github.com/ZhenZHAO/AD-MT, code/train_post_2d_aut.py, cfgs/config_2d_aut.yml). The ramp ends after a quarter of
the steps, 7,500 of 30,000; turns last up to a 600th of them, 50 of 30,000, and up to 10 where that is less.

Deviations: a teacher's average counts its own updates, where there the first 100 steps copy the student; the student's labels move with
CutMix, where there they stay in place.
"""

from __future__ import annotations

import math
from random import Random
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmark.ground.registry import register
from datasets.slices import IGNORE, Batch
from methods.bases.one_network import OneNetwork, View
from methods.method import Step, Task, tunable
from methods.parts.ema import make_teacher, update_teacher
from methods.parts.losses import dice_loss, most_likely
from methods.parts.views import cut_off_boxes, paste, strong_view

BLURRED, TURN = 0.2, 10
"""Share of strong views that are blurred; steps that the longest turn has at least, the teachers' shortest horizon."""


@register("ad_mt")
class AlternateDiverseTeaching(OneNetwork):
    """L = L_sup + w(t) Dice(strong view, the teachers' label where it is sure), the strong view a CutMix in turns of the second teacher.

    The label is the argmax of both teachers' outputs weighted by exp(-entropy); where they differ, the student's if that is surer.
    """

    turn: list[int]
    """The teacher whose turn it is, steps that are left of it, updates of each teacher; on the host, which would wait for it."""
    teachers: nn.ModuleList

    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(2, low=0.2, high=10, log=True, doc="ceiling of the consistency weight")
        ramp: float = tunable(0.25, low=0.1, high=1, minimum=0.01, maximum=1, doc="part of the steps until w(t) is full")
        threshold: float = tunable(0.95, low=0.7, high=0.99, maximum=1, probe=0, doc="least probability of a pseudo-label")
        longest_turn: float = tunable(1 / 600, low=1e-3, high=0.05, log=True, maximum=1, doc="longest turn, part of the steps")
        ema_decay: float = tunable(0.99, low=0.9, high=0.999, maximum=1, doc="teachers' decay per update")

    def build(self, task: Task) -> None:
        super().build(task)
        self.teachers = nn.ModuleList([make_teacher(self.network), make_teacher(self.network)])
        self.turn = [0, self._length(), 0, 0]

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.turn)

    def set_extra_state(self, state: Tensor) -> None:
        self.turn = state.tolist()

    def _length(self) -> int:
        """Steps of a turn, random by the seed of this step."""
        return Random(torch.initial_seed()).randint(1, max(TURN, round(self.hp.longest_turn * self.task.protocol.steps)))

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        image, active = batch.image[batch.labelled :], self.turn[0]
        first, second = self.taught(image, active)
        conflict = most_likely(first)[1] != most_likely(second)[1]
        sure = [torch.exp((p * (p + 1e-10).log2()).sum(1, keepdim=True)) for p in (first, second)]
        confidence, label = most_likely(torch.lerp(second, first, sure[0] / (sure[0] + sure[1])))
        own_confidence, own = most_likely(view.probabilities)
        if active == 0:
            strong = strong_view(image, BLURRED)
        else:
            box, order = cut_off_boxes(image), torch.randperm(len(image), device=image.device)
            maps = (image, confidence, label, conflict, own_confidence, own)
            strong, confidence, label, conflict, own_confidence, own = (paste(box, each[order], each) for each in maps)
        surer = conflict & (own != label) & (own_confidence > confidence)
        label = own.where(surer, label).where(torch.where(surer, own_confidence, confidence) >= self.hp.threshold, IGNORE)
        ramp = math.exp(-5 * (1 - min(1, step.fraction / self.hp.ramp)) ** 2)
        loss = dice_loss(torch.softmax(self.network(strong), 1), label)
        return {"consistency": self.hp.consistency * ramp * loss}

    @torch.no_grad()
    def taught(self, image: Tensor, active: int) -> tuple[Tensor, Tensor]:
        """Both teachers' class probabilities (N, K, P, P); that whose turn it is not is in evaluation mode."""
        self.teachers[1 - active].eval()
        first, second = (torch.softmax(teacher(image), 1) for teacher in self.teachers)
        self.teachers.train()
        return first, second

    def after_step(self, step: Step) -> None:
        active, left, *updates = self.turn
        update_teacher(self.teachers[active], self.network, self.hp.ema_decay, Step(updates[active], step.total))
        updates[active] += 1
        self.turn = [*([active, left - 1] if left > 1 else [1 - active, self._length()]), *updates]

    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        networks = {"student": self.network, "teacher_1": self.teachers[0], "teacher_2": self.teachers[1]}
        return {name: torch.softmax(network(image), 1) for name, network in networks.items()}
