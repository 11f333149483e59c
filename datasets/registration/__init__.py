"""Transforms between a dataset's volumes: computed once, cached by content, shared by all cells.

``Registrations`` is what a method sees: for every training volume its best registered labelled volumes of other cases.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save

from benchmark.workers import follow_parent
from datasets.dataset import Volume
from datasets.registration.engine import Engine, Known, Pair, RegistrationConfig, prepare, register_target
from datasets.registration.transform import Transform, vote, warp_label

__all__ = ["Candidate", "Registrations", "Transform", "fill_cache", "vote", "warp_label"]

_worker: dict[str, Any] = {}


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
    """For each of the training volumes its accepted sources, best similarity first, and how many pairs were rejected.

    A source is a labelled volume of another case. A pair is rejected where registration did not improve similarity over centred grids;
    the control "identity" keeps all.
    """

    candidates: list[list[Candidate]]
    rejected: int

    @staticmethod
    def load(volumes: Sequence[Volume], folder: Path, kind: str) -> Registrations:
        """Registrations of the labelled among ``volumes`` to all of them, from the cache in ``folder``; what is missing is computed.

        kind: "deformable", "affine" or "identity". Two processes may work on one cache.
        """
        work = _Work(list(volumes), folder, kind, RegistrationConfig())
        found = [work.register(target) for target in range(len(volumes))]
        ranked = [work.ranked(target, pairs) for target, pairs in enumerate(found)]
        rejected = sum(pair is not None for pairs in found for pair in pairs) - sum(map(len, ranked))
        return Registrations(ranked, rejected)


def fill_cache(
    studies: Sequence[tuple[Sequence[Volume], str]], folder: Path, jobs: int, tell: Callable[[int, int], None]
) -> Counter[str]:
    """Compute what ``Registrations.load`` will ask for: (volumes, kind) of each study, with ``jobs`` single-threaded processes.

    tell: called with (target volumes done, in all). Results do not depend on ``jobs``, and finished volumes survive an interruption.

    Returns:
        How many pairs were "accepted" and "rejected", over all studies.

    Raises:
        BrokenProcessPool: a worker process died.
    """
    works = [_Work(list(volumes), folder, kind, RegistrationConfig()) for volumes, kind in studies]
    # A target's turn comes for all studies in a row, in one process, so that none waits for another's lock.
    targets = range(max(len(work.volumes) for work in works))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=folder, suffix=".pickle"
    ) as shared:  # a pipe this full blocks for good if a worker dies
        pickle.dump(works, shared)
        shared.flush()
        start = (shared.name, os.getpid())
        pool = ProcessPoolExecutor(min(jobs, len(targets)), get_context("spawn"), initializer=_start_worker, initargs=start)
        try:
            futures = [pool.submit(_register_in_worker, target) for target in targets]
            outcomes: Counter[str] = Counter()
            for done, future in enumerate(as_completed(futures), 1):
                outcomes += future.result()
                tell(done, len(futures))
            return outcomes
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Work:
    """The volumes of one cell and the cache file of each target."""

    def __init__(self, volumes: list[Volume], folder: Path, kind: str, config: RegistrationConfig) -> None:
        self.volumes, self.kind, self.config = volumes, kind, config
        key = hashlib.sha256(json.dumps(config.model_dump(), sort_keys=True).encode()).hexdigest()[:12]
        self.folder = folder / key
        self.labelled = [i for i, volume in enumerate(volumes) if volume.label is not None]
        self.engine = Engine(config, torch.device("cpu"))
        self.prepared: dict[int, Any] = {}

    def _prepare(self, index: int) -> Any:
        if index not in self.prepared:
            self.prepared[index] = prepare(self.volumes[index], self.engine.device)
        return self.prepared[index]

    def sources(self, target: int) -> list[int]:
        """Labelled volumes of other cases."""
        return [i for i in self.labelled if self.volumes[i].case != self.volumes[target].case]

    def register(self, target: int) -> list[Pair | None]:
        """One target against all its sources, through the cache."""
        sources = self.sources(target)
        names = [_content(self.volumes[i], self.volumes[i].label) for i in sources]
        prepared = [self._prepare(i) for i in sources]
        if not sources or self.kind == "identity":
            return register_target(names, prepared, self._prepare(target), self.kind, self.engine, {}) if sources else []
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{_content(self.volumes[target], None)}.safetensors"
        with FileLock(file.with_suffix(".lock")):
            known = _read(file)
            before = len(known)
            pairs = register_target(names, prepared, self._prepare(target), self.kind, self.engine, known)
            if len(known) > before:
                _write(file, known)
        return pairs

    def keeps(self, pair: Pair) -> bool:
        """Whether methods get to see the pair; the control "identity" keeps all."""
        return pair.accepted or self.kind == "identity"

    def ranked(self, target: int, pairs: list[Pair | None]) -> list[Candidate]:
        """Accepted pairs, best similarity first."""
        found = [
            Candidate(source, pair)
            for source, pair in zip(self.sources(target), pairs, strict=True)
            if pair is not None and self.keeps(pair)
        ]
        return sorted(found, key=lambda candidate: -candidate.similarity)


def _content(volume: Volume, label: np.ndarray | None) -> str:
    """Hash of a volume's image and spacing; with the label for a source, whose organs steer its registration."""
    digest = hashlib.sha256(repr((volume.image.shape, volume.spacing, volume.spacing_known)).encode() + volume.image.tobytes())
    if label is not None:
        digest.update(label.tobytes())
    return digest.hexdigest()[:24]


def _read(file: Path) -> Known:
    """A target's known results; a missing or damaged file means none."""
    try:
        return load(file.read_bytes())
    except (OSError, SafetensorError):
        return {}


def _write(file: Path, known: Known) -> None:
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(save({name: value.contiguous() for name, value in known.items()}))
    os.replace(temporary, file)


def _start_worker(works: str, parent: int) -> None:
    follow_parent(parent)
    torch.set_num_threads(1)
    _worker["works"] = pickle.loads(Path(works).read_bytes())  # written by the parent, a moment ago


def _register_in_worker(target: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for work in _worker["works"]:
        if target < len(work.volumes):
            pairs = [pair for pair in work.register(target) if pair is not None]
            outcomes.update("accepted" if work.keeps(pair) else "rejected" for pair in pairs)
    return outcomes
