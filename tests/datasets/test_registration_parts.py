"""The parts of registration that are there for speed give what the plain way gives."""

import numpy as np
import pytest
import torch

from datasets.registration.engine import _Adam, prepare
from datasets.registration.similarity import local_statistics, soften, template_correlation
from datasets.registration.transform import Frame, Transform
from tests.datasets.test_registration import CPU, heart


def test_template_correlation_equals_plain_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(1, 1, 5, 8, 7)
    inside[:, :, 1:, 2:, :6] = 1
    fixed = torch.rand(1, 1, 5, 8, 7, generator=generator) * inside
    moving, weight = torch.rand(2, 2, 1, 3, 5, 3, generator=generator)
    found = template_correlation(fixed, inside, moving, weight)
    assert found.shape == (2, 5, 8, 7)
    seen = 0
    for m, z, y, x in np.ndindex(2, 5, 8, 7):
        pad = torch.nn.functional.pad(torch.cat([fixed, inside]), (1, 1, 2, 2, 1, 1))[:, 0]
        t, w = pad[:, z : z + 3, y : y + 5, x : x + 3].double()
        w = w * weight[m, 0]
        if float(w.sum()) <= 0.6 * float(weight[m].sum()):
            assert float(found[m, z, y, x]) == -1
            continue
        a, b = (v - (v * w).sum() / w.sum() for v in (t, moving[m, 0].double()))
        expected = (w * a * b).sum() / ((w * a * a).sum() * (w * b * b).sum() + 1e-4).sqrt()
        assert float(found[m, z, y, x]) == pytest.approx(float(expected), abs=1e-4)
        seen += 1
    assert seen > 50


def test_our_adam_is_torch_s() -> None:
    start = torch.tensor([3.0, -2.0, 0.5])
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine, reference = _Adam({ours: 0.1}), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(30):
        mine.step((ours**4 - ours.prod()).abs())
        reference.zero_grad()
        (theirs**4 - theirs.prod()).abs().sum().backward()
        reference.step()
    assert torch.allclose(ours, theirs, atol=1e-5) and not torch.allclose(ours, start, atol=0.5)


def test_a_coarser_volume_is_averaged_over_the_same_field_of_view() -> None:
    volume = prepare(heart("a_1", labelled=True), CPU)
    coarse = volume.coarser((9.0, 5.0, 10.0))
    assert coarse.frame.shape == (8, 28, 14) and coarse.frame.spacing == pytest.approx((9.0, 5.0, 10.0))
    assert float(coarse.image[0, 0, 3, 4, 5]) == pytest.approx(float(volume.image[0, 0, 3, 8:10, 20:24].mean()), abs=1e-6)
    assert coarse.mask is not None and float(coarse.mask.mean()) == pytest.approx(float(volume.mask.mean()), abs=1e-6)  # type: ignore[union-attr]
    assert volume.coarser((9.0, 5.0, 10.0)).image is coarse.image and volume.coarser((8.0, 2.0, 2.0)) is volume


def test_local_statistics_and_the_soft_mask_equal_plain_loops() -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(1, 1, 4, 6, 5, generator=generator)
    mean, variance = local_statistics(image, (3, 5, 3))[0]
    for z, y, x in np.ndindex(4, 6, 5):
        around = image[0, 0, max(0, z - 1) : z + 2, max(0, y - 2) : y + 3, max(0, x - 1) : x + 2]
        assert float(mean[z, y, x]) == pytest.approx(float(around.mean()), abs=1e-5)
        assert float(variance[z, y, x]) == pytest.approx(float(around.var(correction=0)), abs=1e-5)
    one = torch.zeros(1, 1, 9, 15, 15)
    one[..., 4, 7, 7] = 1
    soft = soften(one, (3, 5, 5))[0, 0]
    assert float(soft[4, 7, 7]) == pytest.approx(19 * 19 * 7 / (25 * 25 * 9), abs=1e-5)
    assert float(soft[4, 7, 13]) > 0 and float(soft[4, 7, 14]) == 0


def test_everywhere_is_to_source_of_every_voxel() -> None:
    source, target = Frame((6, 20, 24), (9.0, 2.0, 2.5)), Frame((5, 31, 22), (8.0, 1.5, 2.0))
    generator = torch.Generator().manual_seed(0)
    affine = torch.eye(3, 4) + 0.1 * torch.randn(3, 4, generator=generator)
    velocity = torch.zeros(3, 5, 7, 7)
    velocity[:, 1:-1, 1:-1, 1:-1] = 3 * torch.randn(3, 3, 5, 5, generator=generator)
    centre, reach = torch.tensor([4.0, -6.0, 3.0]), torch.tensor([15.0, 12.0, 10.0])
    for transform in (Transform(source, target, affine), Transform(source, target, affine, velocity, centre, reach)):
        expected = transform.to_source(target.voxels())
        assert torch.allclose(transform.everywhere().view(-1, 3), expected, atol=1e-3)
    assert not torch.allclose(expected, Transform(source, target, affine).to_source(target.voxels()), atol=0.5)
