"""Registration on small made-up volumes: it finds known maps, inverts them, and the cache neither changes nor loses results."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.dataset import Volume
from datasets.registration import Candidate, Recipe, Registrations, _Work, vote, warp_label
from datasets.registration.engine import Engine, Prepared, RegistrationConfig, frame_of, prepare
from datasets.registration.pairs import Kind, Pair, TargetRegistration
from datasets.registration.similarity import box, correlation
from datasets.registration.transform import Frame, Transform, folded_fraction
from datasets.slices import IGNORE

ROOT = Path(__file__).parents[2]
SPACING = (9.0, 2.5, 2.5)
CPU = torch.device("cpu")
SHAPE = (8, 56, 56)


def heart(
    name: str, shift: tuple[float, float] = (0, 0), scale: float = 1.0, labelled: bool = False, squash: float = 1.0
) -> Volume:
    """A ring with a crescent beside it among blobs, moved in plane by ``shift`` mm, sized by ``scale``, flattened by ``squash``."""
    z, y, x = (
        (np.arange(n) - (n - 1) / 2).reshape([-1 if i == a else 1 for i in range(3)]) * s
        for a, (n, s) in enumerate(zip(SHAPE, SPACING, strict=True))
    )
    taper = np.sqrt(np.clip(1 - (z / 40) ** 2, 0.05, 1))

    def disc(cy: float, cx: float, ry: float, rx: float) -> np.ndarray:
        cy, cx, ry, rx = (v * scale for v in (cy, cx, ry * squash, rx / squash))
        return np.hypot((y - shift[0] - cy) / (ry * taper), (x - shift[1] - cx) / (rx * taper)) < 1

    image = np.full(SHAPE, 0.3, np.float32)
    image[np.broadcast_to(np.hypot((y - 45) / 12, (x + 40) / 20) < 1, SHAPE)] = 0.8
    image[np.broadcast_to(np.hypot((y + 50) / 14, (x - 30) / 9) < 1, SHAPE)] = 0.05
    label = np.zeros(SHAPE, np.uint8)
    label[disc(0, -26, 24, 16)] = 1
    label[disc(0, 0, 28, 26)] = 2
    label[disc(0, 0, 17, 16)] = 3
    for k, value in ((1, 0.85), (2, 0.2), (3, 0.9)):
        image[label == k] = value
    image += np.random.default_rng(len(name)).normal(0, 0.02, SHAPE).astype(np.float32)
    case = name.split("_")[0]
    return Volume(name, case, image[None].clip(0, 1), label if labelled else None, SPACING)


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.mean([2 * int(((a == k) & (b == k)).sum()) / int((a == k).sum() + (b == k).sum()) for k in (1, 2, 3)]))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(RegistrationConfig(), torch.device("cpu"))


def register(engine: Engine, source: Volume, target: Volume, kind: Kind = "deformable") -> Pair:
    work = TargetRegistration(["source"], lambda i: prepare((source, target)[i], engine.device), engine, {})
    assert work.compute(kind) == [0]
    return work.pair(0, kind, frame_of(source), frame_of(target))


def quality(pair: Pair | Transform, source: Volume, truth: Volume) -> float:
    transform = pair.transform if isinstance(pair, Pair) else pair
    assert source.label is not None and truth.label is not None
    return dice(warp_label(transform, torch.from_numpy(source.label)), torch.from_numpy(truth.label))


@pytest.mark.parametrize(
    ("change", "affine_at_least"),
    [
        ({"shift": (25.0, -20.0)}, 0.85),
        ({"shift": (-15.0, 10.0), "scale": 1.2}, 0.75),
        ({"shift": (12.0, 8.0), "squash": 1.15}, 0.7),
    ],
)
def test_known_maps_are_found_and_the_deformation_helps(engine: Engine, change: dict, affine_at_least: float) -> None:
    source, truth = heart("a_1", labelled=True), heart("b_1", labelled=True, **change)
    before = quality(Transform(frame_of(source), frame_of(truth), torch.eye(3, 4)), source, truth)
    affine, deformable = register(engine, source, truth, "affine"), register(engine, source, truth)
    assert affine.accepted and deformable.accepted
    assert before < 0.6
    assert quality(affine, source, truth) > affine_at_least
    assert quality(deformable, source, truth) > quality(affine, source, truth) - 0.02
    assert quality(deformable, source, truth) > before + 0.3
    assert deformable.after > affine.after and deformable.folded < 0.01


def test_global_correlation_registers_too() -> None:
    engine = Engine(RegistrationConfig(similarity="ncc"), CPU)
    source, truth = heart("a_1", labelled=True), heart("b_1", (12.0, 8.0), labelled=True, squash=1.1)
    assert quality(register(engine, source, truth), source, truth) > 0.75


def test_the_target_s_label_plays_no_part(engine: Engine) -> None:
    source, target = heart("a_1", labelled=True), heart("b_1", (20.0, 10.0), labelled=True)
    seen = register(engine, source, target)
    hidden = register(engine, source, Volume(target.name, target.case, target.image, None, SPACING))
    assert torch.equal(seen.transform.affine, hidden.transform.affine) and seen.after == hidden.after


def test_both_directions_are_inverse_to_each_other(engine: Engine) -> None:
    pair = register(engine, heart("a_1", labelled=True), heart("b_1", (15.0, -12.0), 1.1, squash=1.1))
    assert pair.transform.velocity is not None and float(pair.transform.velocity.abs().max()) > 1
    points = pair.transform.target.voxels()
    back = pair.transform.to_target(pair.transform.to_source(points))
    error = (back - points).abs()
    assert float(error.max()) < 0.75 and float(error.quantile(0.99)) < 0.15 and float(error.mean()) < 0.01, error.max(0)


@pytest.mark.parametrize("factor", [0.3, 2.5])
def test_small_and_large_organs_register_alike(engine: Engine, factor: float) -> None:
    def resized(volume: Volume) -> Volume:
        z, y, x = (s * factor for s in SPACING)
        return Volume(volume.name, volume.case, volume.image, volume.label, (z, y, x))

    source, truth = heart("a_1", labelled=True), heart("b_1", (25.0, -20.0), labelled=True)
    pair = register(engine, resized(source), resized(truth))
    assert quality(pair, source, truth) > 0.85
    points = torch.rand(40, 3) * torch.tensor([7.0, 55.0, 55.0])
    frames = frame_of(resized(truth)), frame_of(resized(source))
    assert (pair.transform.target, pair.transform.source) == frames
    through_mm = frames[1].to_voxels(pair.transform.to_source_mm(frames[0].to_mm(points)))
    assert torch.allclose(through_mm, pair.transform.to_source(points), atol=1e-3)
    back = frames[0].to_voxels(pair.transform.to_target_mm(frames[1].to_mm(through_mm)))
    assert float((back - points).abs().max()) < 0.75


def test_a_volume_stored_at_a_right_angle_is_found_where_orientation_is_unknown(engine: Engine) -> None:
    def turned(volume: Volume, turns: int) -> Volume:
        image, label = (np.ascontiguousarray(np.rot90(a, turns, (-2, -1))) for a in (volume.image, volume.label))
        return Volume(volume.name, volume.case, image, label, SPACING, spacing_known=False)

    source, upright = heart("a_1", labelled=True), heart("b_1", (8.0, -6.0), labelled=True)
    source = turned(source, 0)
    for turns in (1, 3):
        target = turned(upright, turns)
        assert quality(register(engine, source, target), source, target) > 0.75


def test_labels_go_both_ways(engine: Engine) -> None:
    source, truth = heart("a_1", labelled=True), heart("b_1", (20.0, -15.0), labelled=True)
    pair = register(engine, source, truth)
    assert source.label is not None and truth.label is not None
    back = warp_label(pair.transform, torch.from_numpy(truth.label), back=True)
    assert back.shape == source.label.shape and dice(back, torch.from_numpy(source.label)) > 0.8


def test_identity_gives_back_the_label_itself() -> None:
    """Law 2 of CCT-R."""
    source = heart("a_1", labelled=True)
    assert source.label is not None
    same = Transform(frame_of(source), frame_of(source), torch.eye(3, 4))
    assert torch.equal(warp_label(same, torch.from_numpy(source.label)), torch.from_numpy(source.label))


def test_outside_the_source_s_field_of_view_is_ignored() -> None:
    small, large = Frame((4, 20, 20), (9.0, 2.0, 2.0)), Frame((6, 30, 30), (9.0, 2.0, 2.0))
    warped = warp_label(Transform(small, large, torch.eye(3, 4)), torch.ones(4, 20, 20, dtype=torch.uint8))
    assert (warped[1:5, 5:25, 5:25] == 1).all()
    assert int((warped == 1).sum()) == 4 * 20 * 20 and set(warped.unique().tolist()) == {1, IGNORE}


def test_frames_map_voxels_to_mm_and_back() -> None:
    frame = Frame((5, 11, 21), (10.0, 2.0, 1.0))
    assert torch.equal(
        frame.to_mm(torch.tensor([[2.0, 5.0, 10.0], [0.0, 0.0, 0.0]])), torch.tensor([[0.0, 0, 0], [-20, -10, -10]])
    )
    points = torch.rand(50, 3) * 10
    assert torch.allclose(frame.to_voxels(frame.to_mm(points)), points, atol=1e-4)


def test_folding_is_measured() -> None:
    frame = Frame((8, 20, 20), (9.0, 2.0, 2.0))
    reach, centre = torch.tensor([30.0, 20.0, 20.0]), torch.zeros(3)
    smooth, wild = torch.zeros(3, 5, 9, 9), torch.zeros(3, 5, 9, 9)
    smooth[1, 2, 4, 4] = 1.0
    wild[1] = torch.randn(5, 9, 9, generator=torch.Generator().manual_seed(0)) * 40
    assert folded_fraction(Transform(frame, frame, torch.eye(3, 4), smooth, centre, reach)) == 0
    assert folded_fraction(Transform(frame, frame, torch.eye(3, 4), wild, centre, reach)) > 0.02


def test_box_and_correlation_equal_plain_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 1, 4, 6, 5, generator=generator), torch.rand(1, 1, 4, 6, 5, generator=generator)
    weight = torch.rand(1, 1, 4, 6, 5, generator=generator)
    total = 0.0
    for z, y, x in np.ndindex(4, 6, 5):
        around = (slice(max(0, z - 1), z + 2), slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3))
        p, q = a[0, 0][around], b[0, 0][around]
        assert float(box(a, (3, 5, 5))[0, 0, z, y, x]) == pytest.approx(float(p.mean()), abs=1e-5)
        covariance = float((p * q).mean() - p.mean() * q.mean())
        spread = float((p * p).mean() - p.mean() ** 2) * float((q * q).mean() - q.mean() ** 2)
        total += float(weight[0, 0, z, y, x]) * covariance / (spread + 1e-8) ** 0.5
    assert float(correlation(a, b, weight, (3, 5, 5), "lncc")) == pytest.approx(total / (float(weight.sum()) + 1e-4), abs=1e-4)


def test_global_correlation_is_pearson_s_with_weights() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b, weight = (torch.rand(2, 1, 4, 6, 5, generator=generator) for _ in range(3))
    for n, found in enumerate(correlation(a, b, weight, (3, 3, 3), "ncc")):
        p, q, w = (t[n].flatten().double().numpy() for t in (a, b, weight))
        covariance = np.cov(p, q, aweights=w, ddof=0)
        assert float(found) == pytest.approx(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), abs=1e-3)


def test_box_has_the_right_gradient() -> None:
    x = torch.rand(1, 2, 3, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: box(t, (3, 5, 3)), (x,))


def test_vote_is_weighted_leaves_out_what_is_ignored_and_says_how_sure_it_is() -> None:
    labels = torch.tensor([[1, 2, IGNORE, IGNORE], [2, 2, 3, IGNORE], [2, 1, IGNORE, IGNORE]], dtype=torch.uint8)
    label, confidence = vote(labels, torch.tensor([0.5, 0.2, 0.2]))
    assert label.dtype == torch.uint8 and label.tolist() == [1, 2, 3, IGNORE]
    assert confidence.tolist() == pytest.approx([5 / 9, 7 / 9, 1, 0])


def study() -> list[Volume]:
    return [
        heart("a_1", labelled=True),
        heart("a_2", scale=0.85, labelled=True),
        heart("b_1", (18.0, -9.0)),
        heart("c_1", (-20.0, 14.0), 1.1),
    ]


def transforms(found: Registrations) -> list[list[tuple[int, float, torch.Tensor]]]:
    return [[(c.source, c.similarity, c.transform.affine) for c in candidates] for candidates in found.candidates]


def test_candidates_are_labelled_volumes_of_other_cases_best_first(tmp_path: Path) -> None:
    found = Registrations.load(study(), Recipe(), tmp_path, CPU)
    assert [len(candidates) for candidates in found.candidates] == [1, 1, 2, 2]
    assert [c.source for candidates in found.candidates[:2] for c in candidates] == [1, 0]  # the only case: its other frame
    for candidates in found.candidates[2:]:
        assert {c.source for c in candidates} == {0, 1}
        assert candidates[0].similarity >= candidates[1].similarity


def test_the_cache_gives_the_same_bits_whatever_was_computed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = study()
    fresh = Registrations.load(volumes, Recipe(), tmp_path / "all", CPU)
    alone = [Volume(v.name, v.case, v.image, v.label if v.name == "a_1" else None, v.spacing) for v in volumes]
    Registrations.load(alone, Recipe("affine"), tmp_path / "grown", CPU)
    grown = Registrations.load(volumes, Recipe(), tmp_path / "grown", CPU)
    for one, other in zip(transforms(fresh), transforms(grown), strict=True):
        assert [(s, a) for s, a, _ in one] == [(s, a) for s, a, _ in other]
        assert all(torch.equal(t, u) for (*_, t), (*_, u) in zip(one, other, strict=True))

    def forbidden(*_: object) -> None:
        raise AssertionError("computed again")

    for name in ("search", "refine", "warp"):
        monkeypatch.setattr(Engine, name, forbidden)
    again = Registrations.load(volumes, Recipe(), tmp_path / "all", CPU)
    assert [[c.source for c in cs] for cs in again.candidates] == [[c.source for c in cs] for cs in fresh.candidates]


def test_a_damaged_cache_file_is_computed_again(tmp_path: Path) -> None:
    fresh = Registrations.load(study(), Recipe("affine"), tmp_path, CPU)
    for file in tmp_path.rglob("*.sealed"):
        file.write_bytes(file.read_bytes()[:50])
    again = Registrations.load(study(), Recipe("affine"), tmp_path, CPU)
    assert all(
        torch.equal(a[2], b[2])
        for x, y in zip(transforms(fresh), transforms(again), strict=True)
        for a, b in zip(x, y, strict=True)
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from datasets.registration import Recipe, fill_cache
from tests.datasets.test_registration import CPU, study
fill_cache([(study(), Recipe("affine"))], Path(sys.argv[1]), CPU, 2, lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_command_leaves_nothing_but_results(tmp_path: Path) -> None:
    """Finished or half-written; what its worker processes were given is as large as the data set, and gone."""
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".sealed", ".lock", ".tmp"}


def test_a_pair_that_registration_did_not_improve_is_rejected_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(self: _Work, target: int) -> list[Candidate]:
        frame = frame_of(self.volumes[target])
        pair = Pair(Transform(frame, frame, torch.eye(3, 4)), 0.5, 0.4, 0.0, 0.0)
        return [Candidate(source, pair) for source in self.labelled] if target >= 2 else []

    monkeypatch.setattr(_Work, "register", worse)
    found = Registrations.load(study(), Recipe("affine"), tmp_path, CPU)
    assert sum(map(len, found.rejected)) == 4 and not any(found.candidates)


def test_without_a_spacing_the_field_of_view_is_assumed() -> None:
    volume = Volume("a", "a", np.zeros((1, 19, 100, 100), np.float32), None, (10.0, 1.0, 1.0), spacing_known=False)
    assert frame_of(volume).spacing == pytest.approx((5.0, 3.5, 3.5))


def test_an_empty_label_registers_without_error(engine: Engine) -> None:
    empty = heart("a_1", labelled=True)
    assert empty.label is not None
    empty = replace(empty, label=np.zeros_like(empty.label))
    pair = register(engine, empty, heart("b_1"))
    assert np.isfinite(pair.after) and isinstance(prepare(empty, engine.device), Prepared)
