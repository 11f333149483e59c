"""Registration of many pairs at once, as tensor programs: search, affine, deformable, all on local correlation of intensities.

The source of a pair is a labelled volume, and its own label tells where its organs are: similarity is looked at there (a soft, dilated
mask). The target's label is never used. The obvious engines (mutual information, centred affine) make labels worse on this data.

1. Search: the source's organ region is a template; its weighted normalised cross-correlation with the locally normalised target is
   computed for all shifts at a few scales by convolution.
2. Affine: Adam on local NCC around the place found, pulled towards the search's result.
3. Deformable: a stationary velocity field, Adam on local NCC with a smoothness term; invertible, zero at the region's rim.

All coordinates are mm from a volume's centre, zyx. Where a layout stores no spacing, all volumes are taken to have the same field of
view, which the search over scales then corrects; (1, 1, 10) mm would make a stack of 16 thin slices twice as tall as its neighbour's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import functional as F

from datasets.dataset import Volume
from datasets.registration.transform import Frame, Transform, exponential, folded_fraction

ASSUMED_VIEW = (95.0, 350.0, 350.0)
EPSILON = 1e-4


class RegistrationConfig(BaseModel):
    """Sizes and effort. Grids are (z, y, x) points at steps in mm."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int = 1
    search_grid: tuple[int, int, int] = (13, 29, 29)
    search_step: tuple[float, float, float] = (10.0, 10.0, 10.0)
    template_grid: tuple[int, int, int] = (9, 13, 13)
    scales: tuple[float, ...] = (0.8, 1.0, 1.25)
    centre_pull: float = 0.4
    """Loss of correlation for a shift of 100 mm in plane, quadratic."""
    scale_pull: float = 0.5
    """Loss of correlation for a scale of e (or 1/e), quadratic in the logarithm."""
    texture_grid: tuple[int, int, int] = (16, 72, 72)
    texture_step: tuple[float, float, float] = (9.0, 3.0, 3.0)
    affine_grid: tuple[int, int, int] = (11, 28, 28)
    affine_step: tuple[float, float, float] = (9.0, 5.0, 5.0)
    affine_steps: int = 40
    affine_pull: float = 0.5
    warp_grid: tuple[int, int, int] = (11, 44, 44)
    warp_step: tuple[float, float, float] = (9.0, 3.2, 3.2)
    control_grid: tuple[int, int, int] = (7, 16, 16)
    warp_steps: int = 25
    smoothness: float = 2.0
    window: tuple[int, int, int] = (3, 5, 5)
    refine: int = 6
    """Sources of a target that go on from the search to the affine stage."""
    keep: int = 3
    """Sources of a target that go on from the affine to the deformable stage."""


@dataclass(frozen=True)
class Prepared:
    """A volume ready for registration: normalised intensities (1, 1, D, H, W), its frame, and for a source its organs' mask and centre."""

    image: Tensor
    frame: Frame
    mask: Tensor | None
    centre: Tensor


@dataclass(frozen=True)
class Pair:
    """The outcome for one source and one target. Similarities are correlations in [-1, 1], looked at where the source's organs land."""

    transform: Transform
    before: float
    after: float
    folded: float
    seconds: float

    @property
    def accepted(self) -> bool:
        """Whether registration improved similarity over centred grids."""
        return self.after > self.before


def frame_of(volume: Volume) -> Frame:
    """The volume's grid; without a known spacing, the assumed field of view divided by its shape."""
    shape = (volume.image.shape[1], volume.image.shape[2], volume.image.shape[3])
    if volume.spacing_known:
        return Frame(shape, volume.spacing)
    side = (shape[1] * shape[2]) ** 0.5
    return Frame(shape, (ASSUMED_VIEW[0] / shape[0], ASSUMED_VIEW[1] / side, ASSUMED_VIEW[2] / side))


def prepare(volume: Volume, device: torch.device) -> Prepared:
    """Intensities of the mean channel to [0, 1] between the 2nd and 98th percentile; the label's soft mask where there is one."""
    image = torch.from_numpy(volume.image).float().mean(0).to(device)
    sample = image.flatten()[:: max(1, image.numel() // 100_000)]
    low, high = torch.quantile(sample, torch.tensor([0.02, 0.98], device=device))
    image = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    frame = frame_of(volume)
    if volume.label is None:
        return Prepared(image[None, None], frame, None, torch.zeros(3, device=device))
    organs = torch.from_numpy(volume.label > 0).to(device)
    found = organs.nonzero().float()
    centre = frame.to_mm(found).mean(0) if len(found) else torch.zeros(3, device=device)
    return Prepared(image[None, None], frame, organs.float()[None, None], centre)


def sample(volume: Prepared, mm: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Image, inside-the-field-of-view and organ mask of a volume at points (M, d, h, w, 3) mm: each (M, 1, d, h, w)."""
    size = mm.new_tensor(volume.frame.shape)
    normalised = ((volume.frame.to_voxels(mm) + 0.5) / size * 2 - 1).flip(-1)

    def at(field: Tensor) -> Tensor:
        field = field.expand(len(mm), -1, -1, -1, -1)
        return F.grid_sample(field, normalised, mode="bilinear", padding_mode="border", align_corners=False)

    inside = (normalised.abs() <= 1).all(-1)[:, None].float()
    return at(volume.image), inside, None if volume.mask is None else at(volume.mask) * inside


def lattice(grid: tuple[int, int, int], step: tuple[float, float, float], device: torch.device) -> Tensor:
    """Points of a centred grid, (1, d, h, w, 3) mm."""
    axes = [(torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * s for n, s in zip(grid, step, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)[None]


class _WindowSum(torch.autograd.Function):
    """Sum over a window about every point, as shifted additions: six times as fast on a CPU as average pooling, and its own adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int, int]) -> Tensor:
        ctx.window = window
        for axis, width in zip((2, 3, 4), window, strict=True):
            total = x.clone()
            for shift in range(1, width // 2 + 1):
                rest = x.shape[axis] - shift
                total.narrow(axis, shift, rest).add_(x.narrow(axis, 0, rest))
                total.narrow(axis, 0, rest).add_(x.narrow(axis, shift, rest))
            x = total
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _WindowSum.apply(gradients[0], ctx.window), None


def box(x: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Mean over a window about every point, of what lies inside the grid. (N, C, d, h, w)."""
    count = _WindowSum.apply(x.new_ones(1, 1, *x.shape[2:]), window)
    return _WindowSum.apply(x, window) / count


def correlation(a: Tensor, b: Tensor, weight: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Local normalised cross-correlation, signed, averaged with ``weight``; (N, 1, d, h, w) each, to (N,)."""
    mean_a, mean_b, square_a, square_b, product = box(torch.cat([a, b, a * a, b * b, a * b], 1), window).unbind(1)
    covariance = product - mean_a * mean_b
    spread = (square_a - mean_a**2).clamp(min=0) * (square_b - mean_b**2).clamp(min=0)
    local = covariance / torch.sqrt(spread + EPSILON**2)
    w = weight[:, 0]
    return (local * w).sum((1, 2, 3)) / (w.sum((1, 2, 3)) + EPSILON)


def soften(mask: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Organs and a soft margin around them."""
    return box(box(F.max_pool3d(mask, list(window), 1, [n // 2 for n in window]), window), window)


def normalise_locally(image: Tensor, inside: Tensor, window: tuple[int, int, int]) -> Tensor:
    """(image - local mean) / local spread, 0 outside the field of view."""
    mean, square = box(image, window), box(image * image, window)
    return (image - mean) / torch.sqrt((square - mean * mean).clamp(min=0) + 0.03**2) * inside


class Engine:
    """Registers volumes by ``config`` on ``device``. Every pair's result is the same whatever else is in its batch."""

    def __init__(self, config: RegistrationConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.reach = torch.tensor(
            [(n - 1) / 2 * s for n, s in zip(config.warp_grid, config.warp_step, strict=True)], device=device
        )

    def search(self, source: Prepared, target: Prepared) -> tuple[float, Transform, Tensor]:
        """Best correlation of the source's organs with the target over shifts and scales; the transform; the organs' place (3,) mm."""
        c = self.config
        assert source.mask is not None
        wide = (3, 7, 7)
        grid = lattice(c.search_grid, c.search_step, self.device)
        image, inside, _ = sample(target, grid)
        fixed = normalise_locally(image, inside, wide)
        template = lattice(c.template_grid, c.search_step, self.device)
        stretches = torch.tensor([(z, yx, yx) for z in c.scales for yx in c.scales], device=self.device)
        moving, seen, mask = sample(source, source.centre + template * stretches[:, None, None, None])
        assert mask is not None
        moving = normalise_locally(moving, seen, wide)
        scores = _template_correlation(fixed, inside, moving, soften(mask, (3, 3, 3)) * seen)
        shift = lattice(c.search_grid, c.search_step, self.device)
        off_centre = ((shift - source.centre)[..., 1:] / 100).square().sum(-1)
        off_scale = stretches[:, :2].log().square().sum(1)[:, None, None, None]
        value, index = (scores - c.centre_pull * off_centre - c.scale_pull * off_scale).flatten().max(0)
        which, where = divmod(int(index), shift[..., 0].numel())
        stretch, place = stretches[which], shift.view(-1, 3)[where]
        affine = torch.cat([torch.diag(stretch), (source.centre - stretch * place)[:, None]], 1)
        return float(value), Transform(source.frame, target.frame, affine), place

    def refine(
        self, sources: list[Prepared], targets: list[Prepared], starts: list[Transform], places: list[Tensor]
    ) -> list[Transform]:
        """Affine transforms from the search's, by Adam on local NCC around the organs' places; all pairs in one batch."""
        c = self.config
        place = torch.stack(places)
        points = lattice(c.affine_grid, c.affine_step, self.device)
        fixed, valid = self._around(targets, place, points)
        textures = self._textures(sources)
        start = torch.stack([t.affine for t in starts])
        landed = _apply(start, place)
        bend = torch.zeros(len(sources), 3, 3, device=self.device, requires_grad=True)
        move = torch.zeros(len(sources), 3, device=self.device, requires_grad=True)
        optimiser = torch.optim.Adam([{"params": [bend], "lr": 0.02}, {"params": [move], "lr": 1.0}])
        for _ in range(c.affine_steps):
            at = self._affine_points(start, bend, move, landed, points)
            loss = -self._similarity(textures, sources, at, fixed, valid) + c.affine_pull * (bend**2).sum((1, 2))
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
        with torch.no_grad():
            linear = _multiply(torch.eye(3, device=self.device) + bend, start[:, :, :3])
            offset = landed + move - (linear * place[:, None, :]).sum(-1)
            affine = torch.cat([linear, offset[..., None]], 2)
        return [replace(t, affine=a.clone()) for t, a in zip(starts, affine, strict=True)]

    def warp(
        self, sources: list[Prepared], targets: list[Prepared], starts: list[Transform], places: list[Tensor]
    ) -> list[Transform]:
        """Deformable transforms on top of affine ones; all pairs in one batch."""
        c = self.config
        place = torch.stack(places)
        points = lattice(c.warp_grid, c.warp_step, self.device)
        fixed, valid = self._around(targets, place, points)
        textures = self._textures(sources)
        affine = torch.stack([t.affine for t in starts])
        reach = self.reach
        rim = _rim(c.control_grid, self.device)
        velocity = torch.zeros(len(sources), 3, *c.control_grid, device=self.device, requires_grad=True)
        optimiser = torch.optim.Adam([velocity], lr=0.8)
        for _ in range(c.warp_steps):
            field = F.interpolate(exponential(velocity * rim, reach), c.warp_grid, mode="trilinear", align_corners=True)
            moved = points + place[:, None, None, None] + field.movedim(1, -1)
            at = _apply_grid(affine, moved)
            rough = _roughness(velocity * rim, reach)
            loss = -self._similarity(textures, sources, at, fixed, valid) + c.smoothness * rough
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
        final = (velocity * rim).detach()
        return [
            replace(t, velocity=v.clone(), centre=p.clone(), reach=reach) for t, v, p in zip(starts, final, place, strict=True)
        ]

    @torch.no_grad()
    def similarity(
        self, sources: list[Prepared], targets: list[Prepared], transforms: list[Transform], places: list[Tensor]
    ) -> list[float]:
        """Local NCC where the source's organs land, of each pair under its transform, on the finest grid about the organs' place."""
        c = self.config
        place = torch.stack(places)
        points = lattice(c.warp_grid, c.warp_step, self.device)
        fixed, valid = self._around(targets, place, points)
        at = []
        for transform, centre in zip(transforms, place, strict=True):
            voxels = transform.target.to_voxels((points + centre).view(-1, 3))
            at.append(transform.source.to_mm(transform.to_source(voxels)).view(points.shape))
        return self._similarity(self._textures(sources), sources, torch.cat(at), fixed, valid).tolist()

    def _around(self, targets: list[Prepared], place: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        seen = [sample(t, points + p) for t, p in zip(targets, place, strict=True)]
        return torch.cat([s[0] for s in seen]), torch.cat([s[1] for s in seen])

    def _textures(self, sources: list[Prepared]) -> Tensor:
        """Each source's image, field of view and soft organ mask about its organs: (N, 3, d, h, w)."""
        c = self.config
        grid = lattice(c.texture_grid, c.texture_step, self.device)
        made: dict[int, Tensor] = {}
        for source in sources:
            if id(source) not in made:
                image, inside, mask = sample(source, grid + source.centre)
                assert mask is not None
                made[id(source)] = torch.cat([image, inside, soften(mask, (3, 5, 5))], 1)
        return torch.cat([made[id(source)] for source in sources])

    def _affine_points(self, start: Tensor, bend: Tensor, move: Tensor, landed: Tensor, points: Tensor) -> Tensor:
        """Source points (N, d, h, w, 3) of target points about the place: landed + move + (I + bend) A0 p."""
        linear = _multiply(torch.eye(3, device=self.device) + bend, start[:, :, :3])
        affine = torch.cat([linear, (landed + move)[..., None]], 2)
        return _apply_grid(affine, points.expand(len(start), -1, -1, -1, -1))

    def _similarity(self, textures: Tensor, sources: list[Prepared], at: Tensor, fixed: Tensor, valid: Tensor) -> Tensor:
        c = self.config
        centre = torch.stack([s.centre for s in sources])[:, None, None, None]
        reach = at.new_tensor([n * s / 2 for n, s in zip(c.texture_grid, c.texture_step, strict=True)])
        grid = ((at - centre) / reach).flip(-1)
        moving, inside, mask = F.grid_sample(textures, grid, mode="bilinear", padding_mode="zeros", align_corners=False).split(
            1, 1
        )
        weight = (mask * inside * valid).detach()
        return correlation(moving, fixed, weight, c.window)


def _template_correlation(fixed: Tensor, inside: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
    """Weighted NCC of templates (M, 1, d, h, w) with an image (1, 1, D, H, W) at all shifts: (M, D, H, W).

    A shift needs 60 % of the template's weight inside the image. One convolution an image takes all templates at once.
    """
    padding = [n // 2 for n in weight.shape[2:]]

    def slide(image: Tensor, *kernels: Tensor) -> tuple[Tensor, ...]:
        return F.conv3d(image, torch.cat(kernels), padding=padding)[0].chunk(len(kernels))

    total, sum_m, sum_mm = slide(inside, weight, weight * moving, weight * moving * moving)
    sum_t, sum_tm = slide(fixed, weight, weight * moving)
    (sum_tt,) = slide(fixed * fixed, weight)
    some = total.clamp(min=EPSILON)
    covariance = sum_tm - sum_m * sum_t / some
    spread = (sum_mm - sum_m**2 / some).clamp(min=0) * (sum_tt - sum_t**2 / some).clamp(min=0)
    enough = total > 0.6 * weight.sum((1, 2, 3, 4))[:, None, None, None]
    return (covariance / torch.sqrt(spread + EPSILON)).where(enough, -1.0)


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


Known = dict[str, Tensor]
"""Results of a target's pairs by ``<source>.<stage>``: what is there is not computed again."""


def register_target(
    names: list[str], sources: list[Prepared], target: Prepared, kind: str, engine: Engine, known: Known
) -> list[Pair | None]:
    """All sources (called ``names``) to one target; None for a source that dropped out.

    kind: "identity", "affine" or "deformable". The search looks at all sources, the affine stage at its best ``refine``, the
    deformable stage at the ``keep`` of those with the best similarity. ``known`` is read and added to.
    """
    frames = [Transform(s.frame, target.frame, torch.eye(3, 4)) for s in sources]
    centres = [s.centre for s in sources]
    if kind == "identity":
        values = engine.similarity(sources, [target] * len(sources), frames, centres)
        return [Pair(t, v, v, 0.0, 0.0) for t, v in zip(frames, values, strict=True)]
    c = engine.config
    everyone = list(range(len(sources)))
    with torch.no_grad():
        for i in everyone:
            if f"{names[i]}.search" not in known:
                score, found, place = engine.search(sources[i], target)
                known[f"{names[i]}.search"] = torch.cat([torch.tensor([score]), found.affine.flatten().cpu(), place.cpu()])
    best = sorted(everyone, key=lambda i: -float(known[f"{names[i]}.search"][0]))[: c.refine]
    _stage("affine", best, names, sources, target, frames, engine, known)
    if kind == "deformable":
        best = sorted(best, key=lambda i: -float(known[f"{names[i]}.affine"][0]))[: c.keep]
        _stage("deformable", best, names, sources, target, frames, engine, known)
    pairs: list[Pair | None] = [None] * len(sources)
    for i in best:
        after, before, folded, seconds = known[f"{names[i]}.{kind}"][:4].tolist()
        pairs[i] = Pair(_transform(names[i], kind, frames[i], known, engine), before, after, folded, seconds)
    return pairs


def _stage(
    stage: str,
    indices: list[int],
    names: list[str],
    sources: list[Prepared],
    target: Prepared,
    frames: list[Transform],
    engine: Engine,
    known: Known,
) -> None:
    """Compute one stage for those of ``indices`` that do not have it: similarity after and before, fold, seconds, affine; and velocity."""
    todo = [i for i in indices if f"{names[i]}.{stage}" not in known]
    if not todo:
        return
    began = time.perf_counter()
    chosen, targets = [sources[i] for i in todo], [target] * len(todo)
    places = [known[f"{names[i]}.search"][13:].to(engine.device) for i in todo]
    earlier = "search" if stage == "affine" else "affine"
    starts = [_transform(names[i], earlier, frames[i], known, engine) for i in todo]
    done = (engine.refine if stage == "affine" else engine.warp)(chosen, targets, starts, places)
    after = engine.similarity(chosen, targets, done, places)
    before = engine.similarity(chosen, targets, [frames[i] for i in todo], [s.centre for s in chosen])
    seconds = (time.perf_counter() - began) / len(todo)
    for i, transform, new, old in zip(todo, done, after, before, strict=True):
        known[f"{names[i]}.{stage}"] = torch.cat(
            [torch.tensor([new, old, folded_fraction(transform), seconds]), transform.affine.flatten().cpu()]
        )
        if transform.velocity is not None:
            known[f"{names[i]}.velocity"] = transform.velocity.cpu()


def _transform(name: str, stage: str, frame: Transform, known: Known, engine: Engine) -> Transform:
    """The transform that a stage found, from its stored numbers."""
    start = 1 if stage == "search" else 4
    affine = known[f"{name}.{stage}"][start : start + 12].view(3, 4).to(engine.device)
    if stage != "deformable":
        return replace(frame, affine=affine)
    centre = known[f"{name}.search"][13:].to(engine.device)
    return replace(
        frame, affine=affine, velocity=known[f"{name}.velocity"].to(engine.device), centre=centre, reach=engine.reach
    )
