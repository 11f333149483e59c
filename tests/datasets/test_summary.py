"""The ceiling that a protocol's pixels set."""

import numpy as np
import pytest

from datasets.summary import ceiling


def test_a_mask_of_whole_pixels_comes_back_whole() -> None:
    label = np.zeros((2, 64, 64), np.uint8)
    label[0, 16:32, 16:32], label[1, 32:48, 0:16] = 1, 2
    assert ceiling(label, 64, 3).tolist() == [1.0, 1.0]


def test_a_structure_thinner_than_a_pixel_is_lost_and_a_class_that_is_not_there_has_no_ceiling() -> None:
    label = np.zeros((1, 64, 64), np.uint8)
    label[0, :, 8] = 1  # a column that no centre of 16 pixels falls on
    label[0, 20:60, 20:60] = 2
    lost, kept, absent = ceiling(label, 16, 4)
    assert lost == 0 and 0.9 < kept < 1 and np.isnan(absent)


def test_the_ceiling_falls_with_the_pixels_as_it_was_measured() -> None:
    """A ring as thin as a myocardium: 3 pixels of 224."""
    y, x = np.mgrid[:224, :224] - 111.5
    label = (np.abs(np.hypot(y, x) - 30) < 1.5).astype(np.uint8)[None]
    found = [float(ceiling(label, size, 2)[0]) for size in (32, 64, 96, 224)]
    assert found == sorted(found) and found[-1] == pytest.approx(1) and found[0] < 0.5 < found[2]
