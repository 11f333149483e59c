"""Registration by SimpleITK and ANTs as their documentation shows it, one pair at a time: the comparators of ours.

Each is a function of two volumes that returns the source's label on the target's grid, (D, H, W) uint8, 0 outside. They get the same
grids as ours does (``frame_of``), one thread, and images resampled to UNIT: shrinking by 4 would leave three slices of ten.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from datasets.dataset import Volume
from datasets.registration.engine import frame_of

Engine = Callable[[Volume, Volume], np.ndarray]

UNIT = 4.0
"""Side of the cubes that both packages register on, mm. Of native grids, 2.5 and 4 mm it is the best for SyN, and the fastest."""

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")


def simple_itk() -> dict[str, Engine]:
    """An affine map on mutual information (Mattes) from the images' moments, at two levels; symmetric demons on matched histograms."""
    sitk: Any = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra `bench`)")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    def as_image(array: np.ndarray, volume: Volume) -> Any:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(frame_of(volume).spacing[::-1])
        return image

    def cubes(volume: Volume) -> Any:
        image = as_image(volume.image[0], volume)
        size = [max(1, round(n * side / UNIT)) for n, side in zip(image.GetSize(), image.GetSpacing(), strict=True)]
        return sitk.Resample(
            image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [UNIT] * 3, image.GetDirection(), 0.0
        )

    def carry(source: Volume, target: Volume, transform: Any) -> np.ndarray:
        label, grid = as_image(source.label, source), as_image(target.image[0], target)
        moved: np.ndarray = sitk.GetArrayFromImage(sitk.Resample(label, grid, transform, sitk.sitkNearestNeighbor, 0))
        return moved

    def affine(source: Volume, target: Volume) -> np.ndarray:
        fixed, moving = cubes(target), cubes(source)
        centred = sitk.CenteredTransformInitializerFilter.MOMENTS
        registration = sitk.ImageRegistrationMethod()
        registration.SetMetricAsMattesMutualInformation(32)
        registration.SetInterpolator(sitk.sitkLinear)
        registration.SetShrinkFactorsPerLevel([2, 1])
        registration.SetSmoothingSigmasPerLevel([1, 0])
        registration.SetInitialTransform(sitk.CenteredTransformInitializer(fixed, moving, sitk.AffineTransform(3), centred))
        registration.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10, registration.EachIteration)
        registration.SetOptimizerScalesFromPhysicalShift()
        return carry(source, target, registration.Execute(fixed, moving))

    def demons(source: Volume, target: Volume) -> np.ndarray:
        fixed, moving = cubes(target), cubes(source)
        registration = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        registration.SetNumberOfIterations(50)
        registration.SetStandardDeviations(1.5)
        field = registration.Execute(fixed, sitk.HistogramMatching(moving, fixed))
        return carry(source, target, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64)))

    return {"SimpleITK affine": affine, f"SimpleITK demons{AFTER_OURS}": demons}


def ants() -> dict[str, Engine]:
    """ANTs' own recipes for an affine map, for SyN from its own affine map, and for SyN alone, with their defaults."""
    reason = "ANTs is not installed; its pins are older than the lock: pip install --no-deps antspyx webcolors"
    module: Any = pytest.importorskip("ants", reason=reason)

    def as_image(array: np.ndarray, volume: Volume) -> Any:
        return module.from_numpy(array.astype(np.float32), spacing=list(frame_of(volume).spacing))

    def by(recipe: str) -> Engine:
        def register(source: Volume, target: Volume) -> np.ndarray:
            grid = as_image(target.image[0], target)
            fixed, moving = (
                module.resample_image(image, (UNIT,) * 3, False, 0) for image in (grid, as_image(source.image[0], source))
            )
            found = module.registration(fixed, moving, recipe, random_seed=1)
            label = as_image(source.label, source)
            moved = module.apply_transforms(grid, label, found["fwdtransforms"], interpolator="nearestNeighbor")
            return moved.numpy().astype(np.uint8)

        return register

    return {"ANTs affine": by("Affine"), "ANTs SyN": by("SyN"), f"ANTs SyN{AFTER_OURS}": by("SyNOnly")}


AFTER_OURS = ", after our affine"
"""Ends the name of an engine that gets the source as our affine registration has placed it, on the target's grid."""
