"""Short-axis cardiac MR that is made up: a dataset without a download, generated in 3-D from a seed.

Forty-four cases with two volumes each (end-diastole, end-systole): body wall with fat, lungs, liver, stomach, aorta, spine,
atria, a crescent right ventricle, a ring of myocardium and a left ventricle with papillary muscles. Pose, size, contrast, field
of view, spacing, bias field and noise vary from case to case; the frames of a case differ in contraction and noise alone. It
tests methods; it says nothing about patients.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.reading import Reading

VERSION = 3
"""Raised whenever the generator makes other volumes: finished cells of older ones are then not reused."""
SEED = 2025
TRAIN, VAL, TEST = 28, 6, 10
FRAMES = ("ed", "es")


@register("phantom")
class Phantom(Dataset):
    """See the module. Classes: background, right ventricle, myocardium, left ventricle. It is generated and takes no folder."""

    classes = ("background", "right ventricle", "myocardium", "left ventricle")
    channels = 1
    spacing_known = True
    licence = "none is needed: it is made up"
    source = "it is generated; leave --data and --download out"

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            raise BadInput(f"--data: the phantom is generated and reads no files, found {path}; leave --data out")
        super().__init__(path)

    @property
    def split(self) -> Split:
        cases = tuple(f"case{number:03}" for number in range(1, TRAIN + VAL + TEST + 1))
        return Split(cases[:TRAIN], cases[TRAIN : TRAIN + VAL], {"test": cases[TRAIN + VAL :]})

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        volumes = generate(case)
        return volumes if labels else tuple(Volume(v.name, v.case, v.image, None, v.spacing) for v in volumes)

    @property
    def reading(self) -> Reading:
        """Scans in the phantom's own intensities, [0, 1]."""
        return Reading(windows=((0.0, 1.0),), values=tuple(range(len(self.classes))))

    def content_hash(self) -> str:
        """Hash of version, seed, split, and of a few cases as generated here; 12 bits are the same on every machine."""
        split = self.split
        digest = hashlib.sha256(repr((VERSION, SEED, split)).encode())
        for case in (split.train[0], split.val[0], split.tests["test"][0]):
            for volume in generate(case):
                assert volume.label is not None
                digest.update(repr(volume.spacing).encode() + volume.image.tobytes() + volume.label.tobytes())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class _Space:
    """Coordinates of a volume's voxels in mm from its centre; arrays that broadcast to (D, H, W)."""

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def ellipse(self, centre: tuple[Any, Any], radii: tuple[Any, Any], angle: float = 0.0) -> np.ndarray:
        """Signed depth inside an ellipse about (y, x) with radii along and across ``angle``: 1 at the centre, 0 on the rim."""
        dy, dx = self.y - centre[0], self.x - centre[1]
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        along, across = along / np.maximum(radii[0], 1e-3), across / np.maximum(radii[1], 1e-3)
        return 1 - np.sqrt(along * along + across * across)


@lru_cache(maxsize=256)
def generate(case: str) -> tuple[Volume, ...]:
    """A case at end-diastole and end-systole: images (1, D, H, W) in [0, 1], labels (D, H, W); one pose, one scan."""
    rng = np.random.default_rng([SEED, int(case.removeprefix("case"))])
    thickness, pixel = rng.uniform(8, 10), rng.uniform(1.25, 1.65)
    spacing = (thickness, pixel, pixel)
    depth, height, width = int(rng.integers(7, 11)), int(rng.integers(92, 124)), int(rng.integers(92, 124))
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip((depth, height, width), spacing, strict=True)]
    space = _Space(axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    anatomy = _Anatomy.draw(rng, depth * thickness, min(height, width) * pixel)
    systole = rng.uniform(0.58, 0.76)
    volumes = []
    scanner = _Scanner.draw(rng)
    for frame, squeeze in zip(FRAMES, (1.0, systole), strict=True):
        intensity, label = anatomy.render(space, squeeze, rng)
        volumes.append(Volume(f"{case}_{frame}", case, scanner.acquire(intensity, spacing, rng)[None], label, spacing))
    return tuple(volumes)


@dataclass(frozen=True)
class _Anatomy:
    """A case's pose (mm, radians) and tissue intensities."""

    centre: np.ndarray
    drift: np.ndarray
    angle: float
    radius: float
    wall: float
    squash: float
    base: float
    length: float
    rv_size: float
    rv_reach: float
    body: np.ndarray
    tissue: dict[str, float]
    clutter: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, thickness: float, view: float) -> _Anatomy:
        """A random case for a stack ``thickness`` mm deep with a field of view of ``view`` mm."""
        tissue = {
            "body": rng.uniform(0.25, 0.5),
            "fat": rng.uniform(0.5, 0.9),
            "lung": rng.uniform(0.03, 0.15),
            "blood": rng.uniform(0.75, 1.0),
            "myocardium": rng.uniform(0.15, 0.35),
            "liver": rng.uniform(0.3, 0.65),
            "stomach": rng.uniform(0.1, 0.9),
        }
        tissue["sac"] = tissue["myocardium"] + rng.uniform(0.12, 0.4)
        length = thickness * rng.uniform(0.74, 0.92)
        return cls(
            centre=rng.uniform(-0.1, 0.1, 2) * view,
            drift=rng.uniform(-0.12, 0.12, 2),
            angle=np.pi + rng.normal(0, 0.4),
            radius=rng.uniform(19, 27),
            wall=rng.uniform(7, 11),
            squash=rng.uniform(0.88, 1.12),
            base=-thickness / 2 + rng.uniform(0, 1) * (thickness - length),
            length=length,
            rv_size=rng.uniform(0.9, 1.25),
            rv_reach=rng.uniform(0.75, 0.95),
            body=np.array([rng.uniform(80, 100), rng.uniform(105, 135)]),
            tissue=tissue,
            clutter=rng.uniform(-1, 1, (6, 4)),
        )

    def render(self, space: _Space, squeeze: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Intensities before acquisition and labels, (D, H, W), with cavities ``squeeze`` times as wide and a thicker wall."""
        descent = 0.35 * (1 - squeeze) * self.length  # in systole the base comes down to a resting apex
        t = (space.z - self.base - descent) / (self.length - descent)
        inside = (t >= 0) & (t < 1)
        taper = np.sqrt(np.clip(1 - np.clip(t, 0, 1) ** 2.4, 0, 1)) * (0.9 + 0.1 * np.clip(t * 4, 0, 1))
        cy = self.centre[0] + self.drift[0] * space.z
        cx = self.centre[1] + self.drift[1] * space.z
        cavity = self.radius * squeeze * taper
        outer = self.radius * (0.55 + 0.45 * squeeze) * taper + self.wall * np.where(taper > 0, 0.6 + 0.4 * taper, 0)
        lv = space.ellipse((cy, cx), (cavity * self.squash, cavity / self.squash), self.angle)
        epicardium = space.ellipse((cy, cx), (outer * self.squash, outer / self.squash), self.angle)
        narrowing = np.sqrt(np.clip(1 - np.clip(t / self.rv_reach, 0, 1) ** 2, 0, 1))
        reach = self.radius * self.rv_size * narrowing * (0.35 + 0.65 * squeeze)
        shift = outer * 0.8 + reach * 0.35
        rv_centre = (cy + shift * np.sin(self.angle), cx + shift * np.cos(self.angle))
        rv = space.ellipse(rv_centre, (reach * 0.95, reach * 1.45), self.angle)
        rv_wall = space.ellipse(rv_centre, (reach * 0.95 + 3.5, reach * 1.45 + 3.5), self.angle)
        label = np.zeros(rv.shape, np.uint8)
        label[(rv > 0) & (reach > 6) & inside] = 1
        label[(epicardium > 0) & inside] = 2
        label[(lv > 0) & inside & (cavity > 2)] = 3

        image = self._surroundings(space, label.shape)
        extent = self.radius * (0.9 + np.where(t < 0, 1, taper))
        middle = ((cy + rv_centre[0]) / 2, (cx + rv_centre[1]) / 2)
        pericardium = space.ellipse(middle, (1.25 * extent, extent), self.angle)
        sac = (pericardium > 0) & (t > -0.4) & (t < 1.05)
        image[sac] = self.tissue["sac"]
        image[sac & (t < 0) & (pericardium > 0.25)] = 0.95 * self.tissue["blood"]
        image[(rv_wall > 0) & (reach > 6) & inside] = 0.6 * self.tissue["body"] + 0.4 * self.tissue["myocardium"]
        image[label == 1] = self.tissue["blood"] * (0.9 + 0.1 * self.clutter[0, 2])
        image[label == 2] = self.tissue["myocardium"]
        image[label == 3] = self.tissue["blood"]
        for turn in (0.7, -0.9):  # papillary muscles belong to the cavity, as in manual contours
            place = self.angle + np.pi + turn
            at = (cy + 0.55 * self.radius * np.sin(place), cx + 0.55 * self.radius * np.cos(place))
            muscle = (space.ellipse(at, (3.5, 3.5)) > 0) & (label == 3) & (t > 0.2) & (t < 0.75) & (lv > 0.12)
            image[muscle] = 1.2 * self.tissue["myocardium"]
        texture = gaussian_filter(rng.standard_normal(label.shape), (0.5, 2, 2))
        return image * (1 + 0.5 * texture), label

    def _surroundings(self, space: _Space, shape: tuple[int, ...]) -> np.ndarray:
        """Intensities of everything but the heart, (D, H, W)."""
        tissue, c = self.tissue, self.clutter
        image = np.zeros(shape)
        skin = np.broadcast_to(space.ellipse((0, 0), (self.body[1], self.body[0])), shape)

        def fill(depth: np.ndarray, name: str, below_skin: float) -> None:
            image[np.broadcast_to((depth > 0) & (skin > below_skin), shape)] = tissue[name]

        fill(skin, "fat", 0)
        fill(skin, "body", 0.09 + 0.04 * c[0, 0])
        for side, row in ((-1, c[1]), (1, c[2])):
            at = (-12 + 12 * row[0], side * (62 + 10 * row[1]))
            fill(space.ellipse(at, (30 + 6 * row[2], 48 + 8 * row[3])), "lung", 0.14)
        below = 44 + 10 * c[3, 0]
        fill(space.ellipse((below, -45 + 12 * c[3, 1]), (48 + 6 * c[3, 2], 26 + 0.2 * space.z)), "liver", 0.12)
        at = (below + 4, 48 + 10 * c[4, 1])
        fill(space.ellipse(at, (24 + 6 * c[4, 2], 16 + 5 * c[4, 3]), c[4, 0]), "stomach", 0.12)
        at = (self.centre[0] + 42 + 6 * c[5, 0], self.centre[1] + 28 + 8 * c[5, 1])
        fill(space.ellipse(at, (10 + 2 * c[5, 2],) * 2), "blood", 0)
        fill(space.ellipse((at[0] + 22, at[1] - 20), (15, 13)), "fat", 0)  # spine
        return image


@dataclass(frozen=True)
class _Scanner:
    """How a case is imaged: blur (mm), coefficients of the smooth bias field, noise, gamma. Both frames come from one scan."""

    blur: float
    bias: np.ndarray
    noise: float
    gamma: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Scanner:
        return cls(rng.uniform(0.9, 1.5), rng.uniform(-0.3, 0.3, 5), rng.uniform(0.015, 0.045), rng.uniform(0.8, 1.25))

    def acquire(self, intensity: np.ndarray, spacing: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
        """Blur, bias, Rician noise and gamma; then [0, 1] per volume in the 12 bits that scanners store: (D, H, W) float32."""
        blurred = gaussian_filter(intensity, (0.35, *(self.blur / s for s in spacing[1:])))
        z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in intensity.shape), indexing="ij", sparse=True)
        b = self.bias
        field = np.exp(b[0] * y + b[1] * x + b[2] * x * y + b[3] * (y * y - x * x) / 2 + 0.3 * b[4] * z)
        real, imaginary = self.noise * rng.standard_normal((2, *intensity.shape))
        magnitude = np.sqrt((blurred * field + real) ** 2 + imaginary**2) ** self.gamma
        low, high = magnitude.min(), np.quantile(magnitude, 0.998)
        return (np.rint(np.clip((magnitude - low) / (high - low), 0, 1) * 4095) / 4095).astype(np.float32)
