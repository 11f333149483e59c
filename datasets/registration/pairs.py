"""All sources of one target: which go on from stage to stage, and what is known of each pair already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from datasets.registration.engine import Engine, Prepared
from datasets.registration.transform import Frame, Transform, folded_fraction

Kind = Literal["identity", "affine", "deformable"]

Known = dict[str, Tensor]
"""Results of a target's pairs by ``<source>.<stage>``: what is there is not computed again. In units of the source.

search: (starts, 17) correlation, affine (12), the organs' place (3), seconds. identity, affine, deformable: (22,) similarity after and
before, folded fraction, seconds, affine (12), place (3), mm in a unit (3). velocity: (3, d, h, w).
"""


@dataclass(frozen=True)
class Pair:
    """The outcome for one source and one target. Similarities are correlations in [-1, 1], looked at where the source's organs land."""

    transform: Transform
    before: float
    after: float
    folded: float
    seconds: float

    @property
    def accepted(self) -> bool:
        """Whether registration improved similarity over centred grids."""
        return self.after > self.before


class TargetRegistration:
    """Registers ``names`` (sources) to one target by stages; ``known`` is read and added to.

    The search looks at all sources, the affine stage at its best ``refine``, the deformable stage at the ``keep`` of those with the
    best similarity. volumes: gives the i-th source, and the target for -1; asked only when something is not known.
    """

    def __init__(self, names: Sequence[str], volumes: Callable[[int], Prepared], engine: Engine, known: Known) -> None:
        self.names, self.volumes, self.engine, self.known = list(names), volumes, engine, known

    def compute(self, kind: Kind) -> list[int]:
        """Make sure that what ``kind`` needs is known; returns the sources that were not dropped, as indices."""
        everyone = list(range(len(self.names)))
        if kind == "identity":
            self._stage("identity", everyone, self._identity)
            return everyone
        self._stage("search", everyone, self._search)
        best = self._best("search", everyone, self.engine.config.refine)
        self._stage("identity", best, self._identity)
        self._stage("affine", best, self._affine)
        if kind == "deformable":
            best = self._best("affine", best, self.engine.config.keep)
            self._stage("deformable", best, self._deformable)
        return best

    def pair(self, i: int, kind: Kind, source: Frame, target: Frame) -> Pair:
        """The outcome of a source that was not dropped; frames in mm."""
        row = self._known(i, kind)
        after, before, folded, seconds = row[:4].tolist()
        z, y, x = row[19:].tolist()
        found = self._transform(i, kind, source.in_units((z, y, x)), target.in_units((z, y, x)))
        return Pair(replace(found.in_mm((z, y, x)).cpu(), source=source, target=target), before, after, folded, seconds)

    def _best(self, stage: str, indices: list[int], count: int) -> list[int]:
        return sorted(indices, key=lambda i: -float(self.known[f"{self.names[i]}.{stage}"].flatten()[0]))[:count]

    def _known(self, i: int, stage: str) -> Tensor:
        return self.known[f"{self.names[i]}.{stage}"].to(self.engine.device)

    def _stage(self, stage: str, indices: list[int], compute: Callable[[list[int]], None]) -> None:
        todo = [i for i in indices if f"{self.names[i]}.{stage}" not in self.known]
        if todo:
            compute(todo)

    def _batch(self, indices: list[int]) -> tuple[list[Prepared], list[Prepared]]:
        """Sources and targets in the units of the sources; a source that comes again is the same object."""
        once = {i: self.volumes(i) for i in indices}
        sources = {i: volume.in_units(volume.unit) for i, volume in once.items()}
        targets = {i: self.volumes(-1).in_units(volume.unit) for i, volume in once.items()}
        return [sources[i] for i in indices], [targets[i] for i in indices]

    def _search(self, todo: list[int]) -> None:
        for i in todo:
            began = time.perf_counter()
            (source,), (target,) = self._batch([i])
            found = self.engine.search(source, target).cpu()
            seconds = torch.full((len(found), 1), time.perf_counter() - began)
            self.known[f"{self.names[i]}.search"] = torch.cat([found, seconds], 1)

    def _identity(self, todo: list[int]) -> None:
        sources, targets = self._batch(todo)
        centred = [
            Transform(s.frame, t.frame, torch.eye(3, 4, device=self.engine.device))
            for s, t in zip(sources, targets, strict=True)
        ]
        values = self.engine.similarity(sources, targets, centred, [s.centre for s in sources])
        for i, source, transform, value in zip(todo, sources, centred, values, strict=True):
            self._note(i, "identity", value, value, 0.0, transform, source.centre)

    def _affine(self, todo: list[int]) -> None:
        began, config = time.perf_counter(), self.engine.config
        tried = [
            (i, row)
            for i in todo
            for row in self._known(i, "search")
            if row[0] >= self._known(i, "search")[0, 0] - config.margin
        ]
        sources, targets = self._batch([i for i, _ in tried])
        starts = [
            Transform(s.frame, t.frame, row[1:13].view(3, 4)) for s, t, (_, row) in zip(sources, targets, tried, strict=True)
        ]
        places = [row[13:16] for _, row in tried]
        coarse = self.engine.refine(sources, targets, starts, places, half=True)
        alike = self.engine.similarity(sources, targets, coarse, places, half=True)
        best = [
            max(
                (j for j, (source, _) in enumerate(tried) if source == i),
                key=lambda j: alike[j] + config.trust * float(tried[j][1][0]),
            )
            for i in todo
        ]
        sources, targets = [sources[j] for j in best], [targets[j] for j in best]
        starts, places = [coarse[j] for j in best], [places[j] for j in best]
        found = self.engine.refine(sources, targets, starts, places)
        after = self.engine.similarity(sources, targets, found, places)
        seconds = (time.perf_counter() - began) / len(todo)
        for i, j, value, transform, place in zip(todo, best, after, found, places, strict=True):
            before = float(self._known(i, "identity")[0])
            self._note(i, "affine", value, before, seconds + float(tried[j][1][16]), transform, place)

    def _deformable(self, todo: list[int]) -> None:
        began = time.perf_counter()
        sources, targets = self._batch(todo)
        places = [self._known(i, "affine")[16:19] for i in todo]
        starts = [self._transform(i, "affine", s.frame, t.frame) for i, s, t in zip(todo, sources, targets, strict=True)]
        found = self.engine.warp(sources, targets, starts, places)
        after = self.engine.similarity(sources, targets, found, places)
        seconds = (time.perf_counter() - began) / len(todo)
        for i, value, transform, place in zip(todo, after, found, places, strict=True):
            _, before, _, spent = self._known(i, "affine")[:4].tolist()
            self._note(i, "deformable", value, before, seconds + spent, transform, place)

    def _note(
        self, i: int, stage: str, after: float, before: float, seconds: float, transform: Transform, place: Tensor
    ) -> None:
        """Add a pair's outcome to what is known."""
        numbers = torch.tensor([after, before, folded_fraction(transform), seconds])
        unit = torch.tensor(self.volumes(i).unit)
        self.known[f"{self.names[i]}.{stage}"] = torch.cat([numbers, transform.affine.flatten().cpu(), place.cpu(), unit])
        if transform.velocity is not None:
            self.known[f"{self.names[i]}.velocity"] = transform.velocity.cpu()

    def _transform(self, i: int, stage: str, source: Frame, target: Frame) -> Transform:
        """What a stage found, from its stored numbers."""
        row = self._known(i, stage)
        affine = row[4:16].view(3, 4)
        if stage != "deformable":
            return Transform(source, target, affine)
        return Transform(source, target, affine, self._known(i, "velocity"), row[16:19], self.engine.reach)
