"""Both backbones: shapes, sizes, features and head, determinism, and that they learn."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks.swin_unet import SwinUNet
from methods.networks.unet import UNet


def unet(channels: int = 1, classes: int = 4) -> UNet:
    return UNet(channels, classes, (8, 16, 32), (0.05, 0.1, 0.2))


def swin(channels: int = 1, classes: int = 4) -> SwinUNet:
    return SwinUNet(channels, classes, embed=16, depths=(2, 2), heads=(2, 4), window=4, patch=2)


both = pytest.mark.parametrize("make", [unet, swin])


def ellipses(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, side, side) and labels (N, side, side): three noisy ellipses of rising brightness on black."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    label = torch.zeros(count, side, side, dtype=torch.long)
    for n in range(count):
        for k in (1, 2, 3):
            centre = (0.25 + 0.5 * torch.rand(2, generator=generator)) * side
            radii = (0.12 + 0.1 * torch.rand(2, generator=generator)) * side
            label[n][((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1] = k
    image = label[:, None] / 3 + 0.05 * torch.randn(count, 1, side, side, generator=generator)
    return image, label


@both
@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (2, 4), (4, 9)])
@pytest.mark.parametrize("size", [(32, 32), (37, 51), (5, 18)])
def test_logits_have_the_size_of_the_image(make, channels: int, classes: int, size: tuple[int, int]) -> None:
    network = make(channels, classes)
    logits = network(torch.rand(2, channels, *size))
    assert logits.shape == (2, classes, *size)
    logits.sum().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not missing


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_any_number_of_levels(levels: int) -> None:
    image = torch.rand(2, 1, 33, 20)
    assert UNet(1, 3, (4, 8, 8, 12, 16)[:levels], (0.1,) * levels)(image).shape == (2, 3, 33, 20)
    network = SwinUNet(1, 3, 8, (1,) * levels, (2,) * levels, window=3, patch=4)
    assert network(image).shape == (2, 3, 33, 20)


@both
@pytest.mark.parametrize("size", [(32, 32), (37, 51)])
def test_forward_is_head_of_features(make, size: tuple[int, int]) -> None:
    network = make().eval()
    image = torch.rand(2, 1, *size)
    features = network.features(image)
    stride = getattr(network, "patch", 1)
    assert features.shape == (2, network.feature_width, -(-size[0] // stride), -(-size[1] // stride))
    assert torch.equal(network(image), network.head(features, size))


@both
def test_the_seed_gives_the_weights_and_the_output(make) -> None:
    def run() -> tuple[Tensor, Tensor]:
        torch.manual_seed(3)
        first, second = make(), make()
        image = torch.rand(2, 1, 32, 32)
        return first(image), second(image)

    first, second = run()
    again = run()
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)


def test_two_networks_in_a_row_have_no_weight_matrix_in_common() -> None:
    for make in (unet, swin):
        a, b = make(), make()
        for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
            assert p.dim() == 1 or not torch.equal(p, q), name


@both
def test_a_reloaded_copy_computes_the_same_bits(make) -> None:
    network, image = make().eval(), torch.rand(2, 1, 32, 32)
    other = make().eval()
    other.load_state_dict({key: value.contiguous() for key, value in network.state_dict().items()})
    assert torch.equal(network(image), other(image))
    assert torch.equal(network(image), copy.deepcopy(network)(image))


@both
def test_training_works_after_the_first_look_was_an_evaluation(make) -> None:
    network, image = make(), torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        network(image)
    network(image).mean().backward()


def test_parameters_at_the_published_sizes() -> None:
    def count(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    assert count(UNet(1, 4)) == 1_813_764  # SSL4MIS's, the 1.81 M of the field's tables
    assert count(SwinUNet(1, 4)) == pytest.approx(27.17e6, rel=0.001)


def test_unet_equals_its_equations() -> None:
    """Two levels, evaluation mode, written out with functional calls."""
    network = UNet(1, 3, (4, 8), (0.1, 0.2))
    for _ in range(3):
        network(torch.rand(4, 1, 8, 8))
    network.eval()
    state = network.state_dict()

    def layer(x: Tensor, name: str, conv: int) -> Tensor:
        x = F.conv2d(x, state[f"{name}.{conv}.weight"], state[f"{name}.{conv}.bias"], padding=1)
        mean, var, weight, bias = (
            state[f"{name}.{conv + 1}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (var + 1e-5).sqrt() * weight + bias
        return torch.where(x > 0, x, 0.01 * x)

    def block(x: Tensor, name: str) -> Tensor:
        return layer(layer(x, name, 0), name, 4)

    image = torch.rand(2, 1, 8, 8)
    shallow = block(image, "encoder.0")
    deep = block(F.max_pool2d(shallow, 2), "encoder.1")
    narrow = F.conv2d(deep, state["decoder.up.0.0.weight"], state["decoder.up.0.0.bias"])
    between = torch.zeros(8, 4)  # corners on corners: eight places from 0 to 3
    for place in range(8):
        at = place * 3 / 7
        between[place, int(at)] += 1 - at % 1
        between[place, min(int(at) + 1, 3)] += at % 1
    up = between @ narrow @ between.T
    features = block(torch.cat([shallow, up], 1), "decoder.blocks.0")
    logits = F.conv2d(features, state["classify.weight"], state["classify.bias"], padding=1)
    torch.testing.assert_close(network(image), logits, rtol=1e-4, atol=1e-5)


def test_shifted_windows_carry_information_across_window_borders() -> None:
    """One level, window 4 on 8 x 8 tokens: a change at a window's corner reaches the next only through shifts."""
    for depth, crosses in ((1, False), (2, True)):
        torch.manual_seed(0)
        network = SwinUNet(1, 2, 8, (depth,), (2,), window=4, patch=2).eval()
        image = torch.rand(1, 1, 16, 16)
        changed = image.clone()
        changed[..., 6:8, 6:8] += 1.0
        moved = (network.features(image) != network.features(changed)).any(1)[0]
        assert moved[:4, :4].any()
        assert bool(moved[4:, 4:].any()) is crosses
        # The mask: torch.roll brings the opposite border into the same window, which must not be seen.
        changed = image.clone()
        changed[..., :2, :2] += 1.0
        moved = (network.features(image) != network.features(changed)).any(1)[0]
        assert not moved[6:, 6:].any()


@pytest.mark.parametrize(("make", "steps", "rate"), [(unet, 100, 0.01), (swin, 150, 0.005)])
def test_overfits_four_images(make, steps: int, rate: float) -> None:
    torch.manual_seed(0)
    image, label = ellipses(4, 32)
    network = make()
    optimiser = torch.optim.Adam(network.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(network(image), label).backward()
        optimiser.step()
    network.eval()
    found = network(image).argmax(1)
    for k in range(4):
        overlap, total = ((found == k) & (label == k)).sum(), (found == k).sum() + (label == k).sum()
        assert 2 * float(overlap) / float(total) > 0.9, f"class {k}"
