"""One slice axis for a dataset, and what is mixed."""

import numpy as np
import pytest

from datasets.formats.grid import Grid, difference
from datasets.survey import slice_axis, survey


def grid(*spacing: float, codes: str = "RAS", tilt: float = 0.0, origin: tuple[float, float, float] = (0, 0, 0)) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Grid((9, 9, 9), 1, affine, (spacing[0], spacing[1], spacing[2]), codes, tilt)


@pytest.mark.parametrize(
    ("spacing", "axis"),
    [
        ((1, 1, 1), 2),
        ((1.5, 1.5, 10), 2),
        ((0.98, 0.98, 0.7), 2),
        ((1, 1.005, 0.7), 2),
        ((4, 1, 1), 0),
        ((1, 3, 1), 1),
        ((4, 4, 1), 2),
        ((0.7, 0.9, 0.8), 1),
    ],
)
def test_the_axis_is_the_one_whose_spacing_is_widest_alone(spacing: tuple[float, ...], axis: int) -> None:
    assert slice_axis(spacing) == axis


def test_training_volumes_decide_by_their_median() -> None:
    grids = {"a": grid(4, 1, 1), "b": grid(4, 1, 1), "c": grid(1, 1, 4), "d": grid(1, 1, 9), "e": grid(1, 1, 9)}
    assert survey(grids, ["a", "b", "c"]).axis == 0 and survey(grids, ["c", "d", "e"]).axis == 2
    (line,) = (line for line in survey(grids, ["a", "b", "c"]).warnings if "another axis" in line)
    assert line.startswith("3 of 5 volumes (c, d, e)")


def test_what_is_alike_is_not_told_and_what_is_mixed_is() -> None:
    assert not survey({"a": grid(1, 1, 4), "b": grid(1, 1, 7.9)}, ["a"]).warnings
    told = survey({"a": grid(1, 1, 4), "b": grid(1, 1, 8.1, codes="LPS"), "c": grid(1, 1, 4, tilt=21)}, ["a"]).warnings
    assert [part in line for part, line in zip(("factor of 2.0", "LPS in 1", "21 degrees"), told, strict=True)] == [True] * 3


def test_two_grids_differ_by_what_is_said() -> None:
    like = grid(1, 1, 8)
    assert not difference(grid(1, 1, 8, origin=(0.04, 0, 0)), like)
    assert difference(grid(1, 1, 8, origin=(0, -3, 0)), like) == "shape equal, origin moved by (0, -3, 0) mm"
    assert difference(grid(1, 1, 5), like) == "shape equal, spacing (1, 1, 5) and (1, 1, 8) mm"
