"""Label propagation: the warped label is the answer, what nobody sees is background."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from benchmark.cell.evaluation import predict
from benchmark.conformance.task import blob_volume
from benchmark.ground.protocol import get_protocol
from datasets.dataset import Volume
from datasets.registration import Candidate, Recipe
from datasets.registration.engine import frame_of
from datasets.registration.pairs import Pair
from datasets.registration.transform import Transform
from methods.label_propagation import LabelPropagation
from methods.method import Task

SEEN: list[Volume] = []


def known(volume: Volume, recipe: Recipe) -> list[Candidate]:
    """The exact shift from the labelled a1 (good) and from b1 taken as if it were not shifted (bad)."""
    SEEN.append(volume)
    found = []
    for source, shift, similarity in ((0, -6.0, 0.9), (1, 0.0, 0.2)):
        affine = torch.eye(3, 4)
        affine[2, 3] = shift
        frame = frame_of(volume)
        found.append(Candidate(source, Pair(Transform(frame, frame, affine), 0.1, similarity, 0.0, 0.0)))
    return found


@pytest.mark.parametrize("source", ["vote", "similarity"])
def test_the_best_warp_wins_and_the_mask_is_withheld(make_task: Callable[..., Task], source: str) -> None:
    task = replace(make_task(), register=known)
    target = blob_volume("x1", shift=6)
    method = LabelPropagation(task, LabelPropagation.Hparams(source=source))
    (found,) = predict(method, [target], get_protocol("smoke"), torch.device("cpu"))
    assert list(found) == ["propagated"] and (found["propagated"] == target.label).all()
    assert SEEN[-1].label is None and target.label is not None


def test_without_any_registered_volume_all_is_background(make_task: Callable[..., Task]) -> None:
    task = replace(make_task(), register=lambda volume, recipe: [])
    found = LabelPropagation(task, LabelPropagation.Hparams()).segment(blob_volume("x1", labelled=False))
    assert not found["propagated"].any()
