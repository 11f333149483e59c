"""What was tried to make the networks' step faster, on the CPU and, where there is one, on a GPU: each against the plain step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from methods.parts.losses import supervised_loss
from tests.benchmarks.ratios import Ledger, Ratio, interleaved
from tests.benchmarks.scenes import CPU, METHODS, finish, harness_overhead, phantom_task

GPU = torch.device("cuda")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]),
]
CHANNELS_LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def clock_of(device: torch.device) -> Callable[[], float]:
    return time.process_time if device == CPU else time.perf_counter


def unet_step(
    device: torch.device,
    layout: torch.memory_format = CHANNELS_LAST,
    fused: bool | None = None,
    half: bool = False,
    passes: int = 1,
    change: Callable[[nn.Module], Any] = lambda network: network,
) -> Callable[[], None]:
    """A supervised step of the U-Net over labelled and unlabelled slices, from the same weights; the plain one is what cells run."""
    task = phantom_task(device=device, preset="quick" if device == CPU else "paper")
    batch = task.bank.batch(0, 0, task.protocol.batch_labelled, task.protocol.batch_unlabelled)
    torch.manual_seed(0)
    network = task.unet().to(device).to(memory_format=layout).train()  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=fused)
    run = change(network)
    parts: tuple[Tensor, ...] = batch.image.chunk(passes)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = torch.cat([run(part) for part in parts]).float()
        loss = supervised_loss(logits[: batch.labelled], batch.label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        finish(device)

    return step


def tried(ledger: Ledger, device: torch.device, what: str, compared: str, plain: Any, other: Any, target: float | None) -> None:
    fast, slow = interleaved(plain, other, rounds=8, clock=clock_of(device))
    ledger.add(Ratio(f"network, {device.type}: {what}", compared, slow / fast, "higher", target))


def test_channels_last(ledger: Ledger, device: torch.device) -> None:
    plain, other = unet_step(device), unet_step(device, CONTIGUOUS)
    tried(ledger, device, "channels-last weights (kept)", "contiguous / channels-last", plain, other, 1)


def test_one_pass(ledger: Ledger, device: torch.device) -> None:
    plain, other = unet_step(device), unet_step(device, passes=2)
    tried(ledger, device, "one pass for labelled and unlabelled (kept)", "two passes / one", plain, other, 1)


def test_fused_optimiser(ledger: Ledger, device: torch.device) -> None:
    plain, other = unet_step(device, fused=True), unet_step(device)
    tried(ledger, device, "fused SGD (not kept)", "default SGD / fused", plain, other, None)


def test_half_precision(ledger: Ledger, device: torch.device) -> None:
    plain, other = unet_step(device, half=True), unet_step(device)
    tried(ledger, device, "bf16 autocast (protocol paper-bf16)", "float32 / bf16", plain, other, None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cudnn_autotuning(ledger: Ledger) -> None:
    @contextlib.contextmanager
    def autotuned() -> Iterator[None]:
        torch.backends.cudnn.benchmark = True
        torch.use_deterministic_algorithms(False)
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True, warn_only=True)

    step, free = unet_step(GPU), unet_step(GPU)

    def other() -> None:
        with autotuned():
            free()

    tried(ledger, GPU, "cuDNN autotuning without determinism (not kept)", "deterministic / autotuned", other, step, None)


def test_compiled(ledger: Ledger, device: torch.device) -> None:
    """How much faster a compiled step is, and after how many steps compiling has paid for itself."""
    plain, compiled = unet_step(device), unet_step(device, change=torch.compile)
    clock = time.perf_counter
    try:
        began = clock()
        compiled()
        spent = clock() - began
    except Exception as error:  # a compiler that fails in any way is one that is not there
        pytest.skip(f"torch.compile does not work here: {type(error).__name__}")
    fast, slow = interleaved(compiled, plain, rounds=8, clock=clock)
    ledger.add(Ratio(f"network, {device.type}: torch.compile (not kept)", "eager / compiled", slow / fast, "higher"))
    cell = phantom_task().protocol.steps if device == CPU else 30_000
    pays = f"{spent / (slow - fast):.0f}" if slow > fast else "never"
    ledger.table("Compiling: break-even", ["device", "pays after steps", "steps of a cell"], [device.type, pays, cell])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", METHODS)
def test_harness_overhead_on_a_gpu(ledger: Ledger, name: str) -> None:
    ledger.add(harness_overhead(name, steps=48, clock=time.perf_counter, device=GPU))
