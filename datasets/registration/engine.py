"""Registration of many pairs at once, as tensor programs: search, affine, deformable, all on correlation of intensities.

The source of a pair is a labelled volume, and its own label tells where its organs are: similarity is looked at there (a soft, dilated
mask). The target's label is never used. The obvious engines (mutual information, centred affine) make labels worse on this data.

1. Search: the source's organ region is a template; its weighted normalised cross-correlation with the target, the mean of that of
   intensities and of locally normalised ones, is computed for all shifts, a few scales and, where the layout stores no orientation, a
   few turns, by convolution. Of 64 pairs of ACDC the first place is right in .81 by intensities, .77 locally normalised, .86 by the mean.
2. Affine: Adam on local NCC around the best places found, pulled towards the search's result; the best place is kept.
3. Deformable: a stationary velocity field, Adam on local NCC with a smoothness term; invertible, zero at the region's rim.

Both climb at half the points first, and every stage sees volumes averaged to its step. What is made of a volume alone is made once.

Coordinates are zyx from a volume's centre, in units of the source's organs: 25 units are the standard deviation of its organ voxels (a
heart in mm), along the slice axis and in plane. The same grids then fit a hippocampus and an abdomen. Where a layout stores no
spacing, all volumes are taken to have the same field of view, which the search over scales then corrects; (1, 1, 10) mm would make a
stack of 16 thin slices twice as tall as its neighbour's.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from datasets.registration.similarity import (
    Similarity,
    correlation,
    local_statistics,
    normalise_locally,
    soften,
    template_correlation,
)
from datasets.registration.transform import Transform, exponential
from datasets.registration.volumes import Prepared, frame_of, lattice, prepare, sample

__all__ = ["Engine", "Prepared", "RegistrationConfig", "frame_of", "prepare"]

SQUARINGS_CLIMBED = 4
"""Of the exponential while it is optimised; what is found goes through more."""


class RegistrationConfig(BaseModel):
    """Sizes and effort. Grids are (z, y, x) points at steps in units of the source's organs (mm for a heart)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 3
    similarity: Similarity = "lncc"
    """What the affine and the deformable stage climb, and by which pairs are judged."""
    search_grid: tuple[int, int, int] = (13, 29, 29)
    search_step: tuple[float, float, float] = (10.0, 10.0, 10.0)
    template_grid: tuple[int, int, int] = (9, 13, 13)
    scales: tuple[float, ...] = (0.8, 1.0, 1.25)
    """In plane; the affine stage finds the other axis's."""
    centre_pull: float = 0.4
    """Loss of correlation for a shift of 100 units in plane, quadratic."""
    slice_pull: float = 1.0
    """The same along the slice axis, for stacks are planned on the organs: of 96 pairs of ACDC the first place is right in .54 with 0 and
    in .71 with 1."""
    scale_pull: float = 0.5
    """Loss of correlation for a scale of e (or 1/e), quadratic in the logarithm."""
    turns: tuple[float, ...] = (0.0, -80.0, 80.0)
    """In-plane rotations, degrees; some ACDC patients' slices are stored at about a right angle to the others'."""
    turn_pull: float = 0.1
    """Loss of correlation for a turn by a right angle, quadratic."""
    starts: int = 3
    """Places that the search hands on for each source: the best, and the next best that are elsewhere or turned."""
    margin: float = 0.12
    """A place whose correlation is worse than the source's best by more than this is not gone on with."""
    apart: float = 25.0
    """Places closer than this in plane, and with the same turn, are one."""
    trust: float = 0.5
    """Weight of the search's correlation beside the affine stage's in the choice among a source's places."""
    refine: int = 8
    """Sources of a target that go on from the search to the affine stage."""
    keep: int = 6
    """Sources of a target that go on from the affine to the deformable stage, and vote: with 6 the vote's Dice is .007 [-.012, .028] and
    .013 [-.004, .035] above that with 3, at 3 and 7 labelled cases (16 ACDC volumes, by case)."""
    texture_grid: tuple[int, int, int] = (16, 72, 72)
    texture_step: tuple[float, float, float] = (9.0, 3.0, 3.0)
    affine_grid: tuple[int, int, int] = (11, 28, 28)
    affine_step: tuple[float, float, float] = (9.0, 5.0, 5.0)
    affine_steps: tuple[int, int] = (20, 10)
    """At half the points in plane, for all places, and at all points, for the best place of each source."""
    affine_pull: float = 0.5
    warp_grid: tuple[int, int, int] = (11, 44, 44)
    warp_step: tuple[float, float, float] = (9.0, 3.2, 3.2)
    control_grid: tuple[int, int, int] = (7, 16, 16)
    warp_steps: tuple[int, int] = (15, 10)
    """At half the points in plane and at all."""
    smoothness: float = 2.0
    window: tuple[int, int, int] = (3, 5, 5)
    half_window: tuple[int, int, int] = (3, 3, 3)


class Engine:
    """Registers volumes by ``config`` on ``device``, all given in the units of the source of their pair.

    Every pair's result is the same whatever else is in its batch.
    """

    def __init__(self, config: RegistrationConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.reach = torch.tensor(
            [(n - 1) / 2 * s for n, s in zip(config.warp_grid, config.warp_step, strict=True)], device=device
        )

    def search(self, source: Prepared, target: Prepared) -> Tensor:
        """The best ``starts`` maps over shifts, scales and turns, (starts, 16): correlation, affine (12), the organs' place (3) mm."""
        c = self.config
        wide = (3, 7, 7)
        source, target = source.coarser(c.search_step), target.coarser(c.search_step)
        linear, turn, penalty = self._search_maps(turned=not (source.oriented and target.oriented))
        template = lattice(c.template_grid, c.search_step, self.device).expand(len(linear), -1, -1, -1, -1)
        moving, seen, mask = sample(source, source.centre + _apply_grid(F.pad(linear, (0, 1)), template))
        assert mask is not None
        shift = lattice(c.search_grid, c.search_step, self.device)
        image, inside, _ = sample(target, shift)
        weight = soften(mask, (3, 3, 3)) * seen
        fixed, texture = normalise_locally(image, inside, wide), normalise_locally(moving, seen, wide)
        scores = template_correlation(image * inside, inside, moving, weight)
        scores = (scores + template_correlation(fixed, inside, texture, weight)) / 2
        expected = (turn.mT * source.centre).sum(-1)  # where a mere turn of the volume would put the organs
        pull = shift.new_tensor([c.slice_pull, c.centre_pull, c.centre_pull])
        off_centre = (pull * ((shift - expected[:, None, None, None]) / 100).square()).sum(-1)
        scores = scores - off_centre - penalty[:, None, None, None]
        found = []
        for _ in range(c.starts):
            value, index = scores.flatten().max(0)
            which, where = divmod(int(index), shift[..., 0].numel())
            place = shift.view(-1, 3)[where]
            offset = source.centre - (linear[which] * place).sum(-1)
            found.append(torch.cat([value[None], torch.cat([linear[which], offset[:, None]], 1).flatten(), place]))
            near = (shift[0] - place)[..., 1:].norm(dim=-1) < c.apart
            same_turn = (turn == turn[which]).all(2).all(1)
            scores = scores.masked_fill(near & same_turn[:, None, None, None], -2.0)
        return torch.stack(found)

    def _search_maps(self, turned: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The linear maps that the search tries and their rotations, (M, 3, 3) each, and what each map costs, (M,)."""
        c = self.config
        maps, rotations, costs = [], [], []
        for yx, turn in itertools.product(c.scales, c.turns if turned else (0.0,)):
            cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            rotations.append([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
            maps.append([[1.0, 0.0, 0.0], [0.0, yx * cos, -yx * sin], [0.0, yx * sin, yx * cos]])
            costs.append(c.scale_pull * math.log(yx) ** 2 + c.turn_pull * (turn / 90) ** 2)
        device = self.device
        return torch.tensor(maps, device=device), torch.tensor(rotations, device=device), torch.tensor(costs, device=device)

    def refine(
        self,
        sources: list[Prepared],
        targets: list[Prepared],
        starts: list[Transform],
        places: list[Tensor],
        half: bool = False,
    ) -> list[Transform]:
        """Affine transforms from the search's, by Adam on local NCC around the organs' places; all pairs in one batch.

        half: looks at half the points in plane.
        """
        c = self.config
        scene = _Scene(self, sources, targets, places, c.affine_grid, c.affine_step, half)
        start = torch.stack([t.affine for t in starts])
        landed = _apply(start, scene.place)
        one = torch.eye(3, device=self.device)
        bend = torch.zeros(len(sources), 3, 3, device=self.device, requires_grad=True)
        move = torch.zeros(len(sources), 3, device=self.device, requires_grad=True)
        optimiser = _Adam({bend: 0.02, move: 1.0})
        for _ in range(c.affine_steps[0 if half else 1]):
            linear = _multiply(one + bend, start[:, :, :3])
            at = _apply_grid(
                torch.cat([linear, (landed + move)[..., None]], 2), scene.points.expand(len(start), -1, -1, -1, -1)
            )
            optimiser.step(-scene.similarity(at) + c.affine_pull * (bend**2).sum((1, 2)))
        with torch.no_grad():
            linear = _multiply(one + bend, start[:, :, :3])
            offset = landed + move - (linear * scene.place[:, None, :]).sum(-1)
            affine = torch.cat([linear, offset[..., None]], 2)
        return [replace(t, affine=a.clone()) for t, a in zip(starts, affine, strict=True)]

    def warp(
        self, sources: list[Prepared], targets: list[Prepared], starts: list[Transform], places: list[Tensor]
    ) -> list[Transform]:
        """Deformable transforms on top of affine ones; all pairs in one batch."""
        c = self.config
        affine = torch.stack([t.affine for t in starts])
        reach = self.reach
        rim = _rim(c.control_grid, self.device)
        velocity = torch.zeros(len(sources), 3, *c.control_grid, device=self.device, requires_grad=True)
        optimiser = _Adam({velocity: 0.8})
        for half, steps in zip((True, False), c.warp_steps, strict=True):
            scene = _Scene(self, sources, targets, places, c.warp_grid, c.warp_step, half)
            grid = scene.points.shape[1:4]
            for _ in range(steps):
                field = F.interpolate(
                    exponential(velocity * rim, reach, SQUARINGS_CLIMBED), grid, mode="trilinear", align_corners=True
                )
                moved = scene.points + scene.place[:, None, None, None] + field.movedim(1, -1)
                optimiser.step(-scene.similarity(_apply_grid(affine, moved)) + c.smoothness * _roughness(velocity * rim, reach))
        final = (velocity * rim).detach()
        return [
            replace(t, velocity=v.clone(), centre=p.clone(), reach=reach)
            for t, v, p in zip(starts, final, scene.place, strict=True)
        ]

    @torch.no_grad()
    def similarity(
        self,
        sources: list[Prepared],
        targets: list[Prepared],
        transforms: list[Transform],
        places: list[Tensor],
        half: bool = False,
    ) -> list[float]:
        """Similarity where the source's organs land, of each pair under its transform, about the organs' place.

        On the finest grid, or with ``half`` the points of the affine stage.
        """
        c = self.config
        grid, step = (c.affine_grid, c.affine_step) if half else (c.warp_grid, c.warp_step)
        scene = _Scene(self, sources, targets, places, grid, step, half)
        at = []
        for transform, place in zip(transforms, places, strict=True):
            voxels = transform.target.to_voxels((scene.points + place).view(-1, 3))
            at.append(transform.source.to_mm(transform.to_source(voxels)).view(scene.points.shape))
        return scene.similarity(torch.cat(at)).tolist()


class _Adam:
    """Adam (Kingma and Ba, ICLR 2015); that of ``torch.optim`` loads torch's compiler, four CPU seconds in every process.

    rates: the step's size for each parameter.
    """

    def __init__(self, rates: dict[Tensor, float]) -> None:
        self.rates, self.count = rates, 0
        self.means, self.squares = ([torch.zeros_like(p) for p in rates] for _ in range(2))

    def step(self, losses: Tensor) -> None:
        """One step down the sum of ``losses``."""
        gradients = torch.autograd.grad(losses.sum(), list(self.rates))
        self.count += 1
        with torch.no_grad():
            for (p, rate), g, mean, square in zip(self.rates.items(), gradients, self.means, self.squares, strict=True):
                mean.lerp_(g, 0.1)
                square.lerp_(g * g, 0.001)
                spread = (square / (1 - 0.999**self.count)).sqrt() + 1e-8
                p.sub_(rate / (1 - 0.9**self.count) * mean / spread)


class _Scene:
    """What a stage looks at: targets at ``points`` (1, d, h, w, 3) about the organs' places, and the sources around their organs.

    place: (N, 3). half: half the points in plane, over the same extent, and volumes as coarse.
    """

    def __init__(
        self,
        engine: Engine,
        sources: list[Prepared],
        targets: list[Prepared],
        places: list[Tensor],
        grid: tuple[int, int, int],
        step: tuple[float, float, float],
        half: bool,
    ) -> None:
        c = self.config = engine.config
        self.window = c.half_window if half else c.window
        z, y, x = step
        if half:
            d, h, w = grid
            grid = (d, (h + 1) // 2, (w + 1) // 2)
            z, y, x = (s * (n - 1) / (m - 1) for s, n, m in zip(step, (d, h, w), grid, strict=True))
        self.points, self.place = lattice(grid, (z, y, x), engine.device), torch.stack(places)
        seen = [sample(t.coarser((z, y, x)), self.points + p) for t, p in zip(targets, places, strict=True)]
        self.fixed, self.valid = torch.cat([s[0] for s in seen]), torch.cat([s[1] for s in seen])
        self.known = local_statistics(self.fixed, self.window)
        self.centre = torch.stack([s.centre for s in sources])[:, None, None, None]
        self.reach = self.points.new_tensor([n * s / 2 for n, s in zip(c.texture_grid, c.texture_step, strict=True)])
        textures = [_texture(source, c, half) for source in sources]
        self.images, self.weights = torch.cat([t[:, :1] for t in textures]), torch.cat([t[:, 1:] for t in textures])

    def similarity(self, at: Tensor) -> Tensor:
        """Of the targets with the sources at points (N, d, h, w, 3): (N,)."""
        grid = ((at - self.centre) / self.reach).flip(-1)
        moving = F.grid_sample(self.images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        with torch.no_grad():
            weight = F.grid_sample(self.weights, grid, mode="bilinear", padding_mode="zeros", align_corners=False) * self.valid
        return correlation(moving, self.fixed, weight, self.window, self.config.similarity, self.known)


def _texture(source: Prepared, c: RegistrationConfig, half: bool) -> Tensor:
    """A source around its organs: intensities, and weight by the organs' soft mask; (1, 2, d, h, w), made once."""
    if ("texture", half) not in source.memory:
        (d, h, w), (z, y, x), window = c.texture_grid, c.texture_step, (3, 5, 5)
        if half:
            h, w, y, x, window = h // 2, w // 2, 2 * y, 2 * x, (3, 3, 3)
        image, inside, mask = sample(
            source.coarser((z, y, x)), lattice((d, h, w), (z, y, x), source.image.device) + source.centre
        )
        assert mask is not None
        source.memory["texture", half] = torch.cat([image, soften(mask, window) * inside], 1)
    return source.memory["texture", half]


def _apply(affine: Tensor, points: Tensor) -> Tensor:
    """(N, 3, 4) on (N, 3), as sums that do not depend on the batch."""
    return (affine[:, :, :3] * points[:, None, :]).sum(-1) + affine[:, :, 3]


def _apply_grid(affine: Tensor, points: Tensor) -> Tensor:
    """(N, 3, 4) on (N, d, h, w, 3)."""
    a = affine[:, None, None, None]
    z, y, x = points.unbind(-1)
    return torch.stack([a[..., i, 0] * z + a[..., i, 1] * y + a[..., i, 2] * x + a[..., i, 3] for i in range(3)], -1)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """(N, 3, 3) products as plain sums."""
    return (a[:, :, :, None] * b[:, None, :, :]).sum(2)


def _rim(grid: tuple[int, int, int], device: torch.device) -> Tensor:
    """1 inside, 0 on the outermost points of the velocity's grid."""
    rim = torch.ones(1, 1, *grid, device=device)
    for axis in (2, 3, 4):
        rim.select(axis, 0).zero_()
        rim.select(axis, -1).zero_()
    return rim


def _roughness(velocity: Tensor, reach: Tensor) -> Tensor:
    """Mean squared gradient of the velocity, (mm per mm)^2, (N,)."""
    total = torch.zeros(len(velocity), device=velocity.device)
    for axis, half in zip((2, 3, 4), reach, strict=True):
        step = 2 * half / (velocity.shape[axis] - 1)
        total = total + (velocity.diff(dim=axis) / step).pow(2).mean((1, 2, 3, 4))
    return total
