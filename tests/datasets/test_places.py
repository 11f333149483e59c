"""Masks go back to where the voxels of their files lie."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nibabel import orientations

from datasets.reading import as_stored, axes_of
from datasets.volumes import place_of


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
@pytest.mark.parametrize("turn", [None, [[1, 1], [0, -1], [2, 1]], [[2, -1], [0, 1], [1, -1]]])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_goes_back_to_the_axes_of_its_file(codes: str, turn: list[list[int]] | None, axis: int) -> None:
    """Whatever was done to bring it to RAS, to the axes of the dataset's oblique stacks, and along its slices."""
    stored = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    upright = orientations.apply_orientation(stored, orientations.axcodes2ornt(codes))
    turned = upright if turn is None else orientations.apply_orientation(upright, np.array(turn))
    grid: Any = SimpleNamespace(codes=codes, stored=np.eye(4), unit=2, tilt=0.0)
    place = place_of(grid, None if turn is None else np.array(turn, float))
    assert np.array_equal(as_stored(turned.transpose(axes_of(axis)), axis, place), stored)
