"""Transforms between a dataset's volumes: computed once, cached by content, shared by all cells.

``Registrations`` is what a method sees: for every training volume its best registered labelled volumes of other cases, and for a labelled
one without any those of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from multiprocessing import get_context
from multiprocessing.reduction import DupFd
from operator import methodcaller
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from benchmark.ground.files import one_at_a_time, seal, set_aside, unseal, write_atomically
from benchmark.ground.workers import follow_parent
from datasets.dataset import Volume
from datasets.registration.engine import Engine, Prepared, RegistrationConfig, frame_of, prepare
from datasets.registration.pairs import Kind, Known, Pair, TargetRegistration
from datasets.registration.similarity import Similarity
from datasets.registration.transform import Transform, vote, vote_by_similarity, warp_image, warp_label

__all__ = [
    "Candidate",
    "Recipe",
    "Registrations",
    "Transform",
    "cache_files",
    "candidates",
    "configuration",
    "fill_cache",
    "vote",
    "vote_by_similarity",
    "warp_image",
    "warp_label",
]

_worker: dict[str, Any] = {}


class Recipe(NamedTuple):
    """What may be chosen about registration: the kind of transform, and the similarity that it climbs and is judged by."""

    kind: Kind = "deformable"
    similarity: Similarity = "lncc"


@dataclass(frozen=True)
class Candidate:
    """A labelled volume (index ``source``) that was registered to a target, with the outcome."""

    source: int
    pair: Pair

    @property
    def transform(self) -> Transform:
        """The map between target and source voxels."""
        return self.pair.transform

    @property
    def similarity(self) -> float:
        """Correlation after registration, where the source's organs land, in [-1, 1]."""
        return self.pair.after


@dataclass(frozen=True)
class Registrations:
    """For each of the training volumes its accepted sources, best similarity first, and the rejected ones.

    A source is a labelled volume of another case; of a labelled target that has none, as with one labelled case, another volume of its
    own case (the other frame). A pair is rejected where registration did not improve similarity over centred grids;
    the control "identity" keeps all.
    """

    candidates: list[list[Candidate]]
    rejected: list[list[Candidate]]

    @staticmethod
    def load(volumes: Sequence[Volume], recipe: Recipe, folder: Path, device: torch.device) -> Registrations:
        """Registrations of the labelled among ``volumes`` to all of them, from the cache in ``folder``; what is missing is computed.

        Two processes may work on one cache. CPU and GPU have caches of their own, since their results differ in the last bits.
        """
        work = _Work(list(volumes), folder, device, recipe)
        found = [work.register(target) for target in range(len(volumes))]
        accepted = [work.accepted(pairs) for pairs in found]
        return Registrations(accepted, [[c for c in all_ if c not in good] for all_, good in zip(found, accepted, strict=True)])

    @staticmethod
    def none(volumes: Sequence[Volume]) -> Registrations:
        """No candidate for any volume."""
        return Registrations([[] for _ in volumes], [[] for _ in volumes])


def candidates(
    labelled: Sequence[Volume], volume: Volume, recipe: Recipe, folder: Path, device: torch.device
) -> list[Candidate]:
    """Labelled volumes registered to one other volume, accepted ones, best similarity first; ``source`` counts in ``labelled``."""
    work = _Work([*labelled, volume], folder, device, recipe)
    return work.accepted(work.register(len(labelled)))


Study = tuple[Sequence[Volume], Recipe]
"""What one cell needs: the training volumes, labelled ones with their label, and the recipe."""


def fill_cache(
    studies: Sequence[Study], folder: Path, device: torch.device, jobs: int, tell: Callable[[int, int], None]
) -> Counter[str]:
    """Compute what ``Registrations.load`` will ask for each study: on a CPU with ``jobs`` single-threaded processes.

    tell: called with (target volumes done, in all). Results do not depend on ``jobs``, and finished volumes survive an interruption.

    Returns:
        How many pairs were "accepted" and "rejected", over all studies.

    Raises:
        BrokenProcessPool: a worker process died.
    """
    works = [_Work(list(volumes), folder, device, recipe) for volumes, recipe in studies]
    # A target's turn comes for all studies in a row, in one process, so that none waits for another's lock.
    targets = range(max(len(work.volumes) for work in works))
    outcomes: Counter[str] = Counter()
    folder.mkdir(parents=True, exist_ok=True)
    if device.type != "cpu":
        for target in targets:
            outcomes += _register(works, target)
            tell(target + 1, len(targets))
        return outcomes
    # In a file, for a pipe this full blocks for good if a worker dies; without a name, so that a killed command leaves nothing.
    with TemporaryFile(dir=folder) as shared:
        pickle.dump(works, shared)
        shared.flush()
        start: tuple[Any, int] = (_Inherited(shared.fileno()), os.getpid())
        pool = ProcessPoolExecutor(min(jobs, len(targets)), get_context("spawn"), initializer=_start_worker, initargs=start)
        try:
            futures = [pool.submit(_register_in_worker, target) for target in targets]
            for done, future in enumerate(as_completed(futures), 1):
                outcomes += future.result()
                tell(done, len(futures))
            return outcomes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cache_files(studies: Sequence[Study], folder: Path, device: torch.device) -> list[str]:
    """Names, relative to ``folder``, of the files that ``fill_cache`` has filled for these studies."""
    works = [_Work(list(volumes), folder, device, recipe) for volumes, recipe in studies]
    found = {work.file(target) for work in works for target in range(len(work.volumes))}
    return sorted(path.relative_to(folder).as_posix() for path in found)


def configuration(recipe: Recipe) -> dict[str, Any]:
    """Everything that decides how volumes are registered: the cache goes by it, and so does a cell that uses registrations."""
    return RegistrationConfig(similarity=recipe.similarity).model_dump()


class _Work:
    """The volumes of one study and the cache file of each target."""

    def __init__(self, volumes: list[Volume], folder: Path, device: torch.device, recipe: Recipe) -> None:
        self.volumes, self.kind = volumes, recipe.kind
        key = hashlib.sha256(json.dumps(configuration(recipe), sort_keys=True).encode()).hexdigest()[:12]
        self.folder = folder / f"{key}-{device.type}"
        self.labelled = [i for i, volume in enumerate(volumes) if volume.labelled]
        self.engine = Engine(RegistrationConfig(**configuration(recipe)), device)
        self.frames = [frame_of(volume) for volume in volumes]
        self.images = [_content(volume) for volume in volumes]
        self.names = {i: _labelled_content(self.images[i], volumes[i].label) for i in self.labelled}
        self.prepared: dict[int, Prepared] = {}

    def _prepare(self, index: int) -> Prepared:
        if index not in self.prepared:
            self.prepared[index] = prepare(self.volumes[index], self.engine.device)
        return self.prepared[index]

    def file(self, target: int) -> Path:
        """Where a target's results are cached."""
        return self.folder / f"{self.images[target]}.sealed"

    def register(self, target: int) -> list[Candidate]:
        """One target against all its sources, see ``Registrations``, through the cache: those not dropped, best similarity first."""
        sources = [i for i in self.labelled if self.volumes[i].case != self.volumes[target].case]
        if not sources and target in self.labelled:
            sources = [i for i in self.labelled if i != target]
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.file(target)
        with one_at_a_time(file.with_suffix(".lock")):
            known = _read(file)
            before = len(known)
            work = TargetRegistration(
                [self.names[i] for i in sources],
                lambda i: self._prepare(target if i < 0 else sources[i]),
                self.engine,
                known,
            )
            kept = work.compute(self.kind)
            if target not in self.labelled:
                self.prepared.pop(target, None)  # it is no source, and does not come again
            if len(known) > before:
                _write(file, known)
        found = [Candidate(sources[i], work.pair(i, self.kind, self.frames[sources[i]], self.frames[target])) for i in kept]
        return sorted(found, key=lambda candidate: -candidate.similarity)

    def accepted(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those that methods get to see; the control "identity" keeps all."""
        return [c for c in candidates if c.pair.accepted or self.kind == "identity"]


def _content(volume: Volume) -> str:
    """Hash of a volume's image and spacing."""
    image = volume.image
    spacing = repr((image.shape, volume.spacing, volume.spacing_known))
    return hashlib.sha256(spacing.encode() + image.tobytes()).hexdigest()[:24]


def _labelled_content(image: str, label: np.ndarray | None) -> str:
    """Hash of a source: its label steers its registration."""
    assert label is not None
    return hashlib.sha256(image.encode() + label.tobytes()).hexdigest()[:24]


def _read(file: Path) -> Known:
    """A target's known results: none where there is no file, or a damaged one, which is set aside."""
    if not file.is_file():
        return {}
    content = unseal(file.read_bytes())
    with suppress(SafetensorError):
        if content is not None:
            return load(content)
    set_aside(file, "is not as it was written")
    return {}


def _write(file: Path, known: Known) -> None:
    write_atomically(file, seal(save({name: value.contiguous() for name, value in known.items()})))


class _Inherited:
    """An open file, by its number; whoever is started with it gets a number of its own."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return methodcaller("detach"), (DupFd(self.number),)


def _start_worker(works: int, parent: int) -> None:
    follow_parent(parent)
    torch.set_num_threads(1)
    with mmap(works, 0, access=ACCESS_READ) as content:  # written by the parent, a moment ago
        _worker["works"] = pickle.loads(content)  # noqa: S301 - of a file without a name, which this command wrote
    os.close(works)


def _register_in_worker(target: int) -> Counter[str]:
    return _register(_worker["works"], target)


def _register(works: list[_Work], target: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for work in works:
        if target < len(work.volumes):
            found = work.register(target)
            accepted = len(work.accepted(found))
            outcomes.update(accepted=accepted, rejected=len(found) - accepted)
    return outcomes
