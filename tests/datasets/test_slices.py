"""The slice bank: batches are pure functions of (seed, step), and every map travels through the same augmentation."""

import numpy as np
import pytest
import torch

from datasets.augmentation import weak_augmentation
from datasets.dataset import Volume
from datasets.slices import IGNORE, SliceBank, resize_image, sampling_grid

SIZE = 32


def volume(name: str, case: str, labelled: bool, depth: int = 4, shape: tuple[int, int] = (SIZE, SIZE)) -> Volume:
    rng = np.random.default_rng(sum(map(ord, name)))
    image = rng.random((1, depth, *shape), dtype=np.float32)
    label = rng.integers(0, 4, (depth, *shape), dtype=np.uint8) if labelled else None
    return Volume(name, case, image, label, (10.0, 1.0, 1.0))


@pytest.fixture
def bank() -> SliceBank:
    volumes = [volume("a1", "a", True), volume("a2", "a", True, 3), volume("b1", "b", False, 5, (40, 28))]
    return SliceBank(volumes, SIZE, torch.device("cpu"))


def test_unlabelled_slices_carry_no_mask(bank: SliceBank) -> None:
    assert bank.labelled.tolist() == list(range(7))
    assert bank.unlabelled.tolist() == list(range(7, 12))
    assert (bank.label[bank.unlabelled] == IGNORE).all()
    assert (bank.label[bank.labelled] != IGNORE).all()


def test_first_volume_and_plane_agree(bank: SliceBank) -> None:
    assert bank.first.tolist() == [0, 4, 7]
    for row in range(len(bank.image)):
        assert int(bank.first[bank.volume[row]] + bank.plane[row]) == row


def test_a_batch_is_a_function_of_seed_and_step(bank: SliceBank) -> None:
    first, again = bank.batch(3, 11, 2, 3), bank.batch(3, 11, 2, 3)
    assert torch.equal(first.image, again.image) and torch.equal(first.label, again.label)
    assert not torch.equal(first.image, bank.batch(3, 12, 2, 3).image)
    assert not torch.equal(first.image, bank.batch(4, 11, 2, 3).image)


def test_each_stream_is_seen_once_an_epoch_also_when_batches_straddle_epochs(bank: SliceBank) -> None:
    rows = torch.cat([bank.batch(0, step, 3, 2).slice for step in range(7)]).view(7, 5)
    labelled, unlabelled = rows[:, :3].flatten(), rows[:, 3:].flatten()
    assert labelled[:7].unique().numel() == 7 and labelled.unique(return_counts=True)[1].tolist() == [3] * 7
    assert unlabelled[:5].unique().numel() == 5


def test_with_all_cases_labelled_the_unlabelled_stream_shows_the_labelled_images() -> None:
    bank = SliceBank([volume("a1", "a", True)], SIZE, torch.device("cpu"))
    batch = bank.batch(0, 0, 2, 2)
    assert batch.image.shape[0] == 4 and batch.label.shape[0] == 2


def test_image_label_and_carried_map_stay_aligned() -> None:
    """Law 5 of CCT-R: a checkerboard carried as image, label and extra map is the same checkerboard in all three."""
    board = (np.indices((SIZE, SIZE)) // 8).sum(0) % 2
    stack = np.repeat(board[None], 6, 0)
    bank = SliceBank(
        [Volume("a", "a", stack[None].astype(np.float32), stack.astype(np.uint8), (1, 1, 1))], SIZE, torch.device("cpu")
    )
    extra = torch.from_numpy(stack.astype(np.uint8))
    for step in range(20):
        batch = bank.batch(0, step, 6, 6)
        carried = bank.carry(extra, batch)
        assert torch.equal(carried[:6], batch.label)
        sure = (batch.image[:, 0] < 0.01) | (batch.image[:, 0] > 0.99)  # away from interpolated edges
        assert torch.equal(carried[sure], batch.image[:, 0][sure].round().long())


def test_quarter_turns_and_flips_move_pixels_without_change() -> None:
    bank = SliceBank([volume("a1", "a", True, 12)], SIZE, torch.device("cpu"))
    exact = 0
    for step in range(4):
        batch = bank.batch(1, step, 12, 1)
        for image, row, linear in zip(batch.image[:12], batch.slice[:12], batch.to_slice[:12, :, :2], strict=True):
            if torch.allclose(linear.abs().round(), linear.abs(), atol=1e-5):
                exact += 1
                assert torch.allclose(image.flatten().sort().values, bank.image[row].flatten().sort().values, atol=1e-4)
    assert 12 <= exact <= 36  # half of 48


def test_augmentation_is_a_rotation_with_or_without_flip() -> None:
    maps = weak_augmentation(500, SIZE, torch.Generator().manual_seed(0))
    linear = maps[:, :, :2]
    assert torch.allclose(linear @ linear.mT, torch.eye(2).expand(500, 2, 2), atol=1e-5)
    centre = torch.tensor([(SIZE - 1) / 2, (SIZE - 1) / 2, 1.0])
    assert torch.allclose(maps @ centre, centre[:2].expand(500, 2), atol=1e-4)
    flipped = torch.linalg.det(linear) < 0
    assert 200 < int(flipped.sum()) < 300


def test_to_slice_points_at_the_pixels_that_were_sampled(bank: SliceBank) -> None:
    """The map handed to methods and the one that moved the image are the same."""
    columns = torch.arange(SIZE, dtype=torch.float32).expand(len(bank.image), 1, SIZE, SIZE)
    bank.image = columns.clone()
    batch = bank.batch(0, 5, 3, 3)
    grid = sampling_grid(batch.to_slice, SIZE)
    inside = (grid.abs() < 0.95).all(-1)
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    points = torch.stack([row, column, torch.ones_like(row)], -1).float()
    source = torch.einsum("nij,hwj->nhwi", batch.to_slice, points)
    assert torch.allclose(batch.image[:, 0][inside], source[..., 1][inside], atol=1e-3)


def test_resize_keeps_the_mean_of_a_smooth_image() -> None:
    smooth = np.linspace(0, 1, 60, dtype=np.float32)[None, None, :, None].repeat(50, 3)
    resized = resize_image(Volume("a", "a", smooth, None, (1, 1, 1)), 20)
    assert resized.shape == (1, 1, 20, 20)
    assert abs(float(resized.mean()) - 0.5) < 0.01
