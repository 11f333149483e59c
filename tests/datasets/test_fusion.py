"""Labels of several sources become one, by how alike the images are at each place."""

import numpy as np
import pytest
import torch

from datasets.dataset import Volume
from datasets.registration import Candidate, Fusion, vote
from datasets.registration.engine import frame_of
from datasets.registration.pairs import Pair
from datasets.registration.transform import Transform
from datasets.slices import IGNORE
from tests.datasets.test_registration import heart


def unmoved(source: int, volume: Volume, similarity: float = 0.5) -> Candidate:
    frame = frame_of(volume)
    return Candidate(source, Pair(Transform(frame, frame, torch.eye(3, 4)), 0.1, similarity, 0.0, 0.0))


def test_vote_is_weighted_and_says_how_sure_it_is() -> None:
    labels = torch.tensor([[1, 2, IGNORE, IGNORE], [2, 2, 3, IGNORE], [2, 1, IGNORE, IGNORE]], dtype=torch.uint8)
    label, confidence = vote(labels, torch.tensor([0.5, 0.2, 0.2]))
    assert label.dtype == torch.uint8 and label.tolist() == [1, 2, 3, IGNORE]
    assert confidence.tolist() == pytest.approx([5 / 9, 7 / 9, 1, 0])


def test_vote_takes_a_weight_for_every_voxel() -> None:
    labels = torch.tensor([[1, 1], [2, 2]], dtype=torch.uint8)
    label, confidence = vote(labels, torch.tensor([[0.9, 0.1], [0.1, 0.4]]))
    assert label.tolist() == [1, 2] and confidence.tolist() == pytest.approx([0.9, 0.8])


def test_each_source_decides_where_it_is_alike() -> None:
    """Two sources, each the target itself in one half and another heart, turned and labelled wrongly, in the other."""
    target = heart("t_1", labelled=True)
    assert target.label is not None
    strange = np.random.default_rng(0).random(target.image.shape, np.float32)
    left = np.arange(56) < 28
    sources = [
        Volume(name, name[0], np.where(good, target.image, strange), np.where(good, target.label, 1).astype(np.uint8), target.spacing)
        for name, good in (("a_1", left), ("b_1", ~left))
    ]
    candidates = [unmoved(i, target, similarity) for i, similarity in enumerate((0.9, 0.1))]
    fused = Fusion(sources)(candidates, target)
    far = torch.from_numpy(np.abs(np.arange(56) - 27.5) > 6)  # the windows of the two halves overlap in the middle
    right = fused.label == torch.from_numpy(target.label)
    assert float(right[..., far].float().mean()) > 0.99 and float(fused.confidence[..., far].mean()) > 0.9
    swapped = Fusion(sources[::-1])(candidates, target)
    assert torch.equal(swapped.label, fused.label)  # the order is not what decides


def test_one_source_is_believed() -> None:
    target = heart("t_1", labelled=True)
    fused = Fusion([target])([unmoved(0, target)], target)
    assert torch.equal(fused.label, torch.from_numpy(np.array(target.label))) and bool((fused.confidence == 1).all())
