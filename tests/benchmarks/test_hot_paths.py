"""Timings of what a cell spends its time on. Run with `make bench`; no part of the tests. Compare rows of one run only."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn import functional as F

from benchmark import registry
from benchmark.environment import make_deterministic
from benchmark.experiment import training_volumes
from benchmark.metrics import volume_metrics
from benchmark.protocol import get_protocol
from benchmark.training import _optimiser, _update
from datasets.prepared import open_dataset
from datasets.registration import Registrations
from datasets.registration.engine import Engine, RegistrationConfig, prepare
from datasets.registration.pairs import TargetRegistration
from datasets.slices import SliceBank
from methods.cctr.contrast import ContrastHparams, PixelContrast
from methods.method import Method, Step, Task
from tests.methods.memory import PeakMemory

METHODS = [name for name in registry.entries("methods") if issubclass(registry.load("methods", name), Method)]


@pytest.fixture(scope="module")
def task() -> Task:
    """The phantom's training set at `quick`, with three labelled cases and no registrations."""
    make_deterministic()
    dataset = open_dataset("phantom", None)
    protocol = get_protocol("quick")
    volumes = list(training_volumes(dataset, dataset.split.train[:3]))
    bank = SliceBank(volumes, protocol.image_size, torch.device("cpu"))
    return Task(4, 1, protocol, bank, lambda recipe: Registrations.none(volumes), lambda volume, recipe: [])


def build(task: Task, name: str) -> Method:
    torch.manual_seed(0)
    method_class = registry.load("methods", name)
    method: Method = method_class(task, method_class.Hparams())  # type: ignore[attr-defined]
    return method


@pytest.mark.benchmark(group="step")
@pytest.mark.parametrize("name", METHODS)
def test_training_step(benchmark: BenchmarkFixture, task: Task, name: str) -> None:
    method = build(task, name)
    optimiser = _optimiser(method, task.protocol)
    steps = iter(range(200, 400))
    benchmark.pedantic(
        lambda: _update(method, optimiser, task.bank, task.protocol, 0, Step(next(steps), 400)), rounds=15, warmup_rounds=2
    )


@pytest.mark.benchmark(group="step")
def test_bare_step_of_one_unet(benchmark: BenchmarkFixture, task: Task) -> None:
    """Forward, backward and optimiser of the supervised method on a ready batch: what the harness adds is the difference."""
    network = task.unet()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    batch = task.bank.batch(0, 0, 8, 8)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(network(batch.image[:8]), batch.label).backward()
        optimiser.step()

    benchmark.pedantic(step, rounds=15, warmup_rounds=2)


@pytest.mark.benchmark(group="batch")
def test_batch_with_augmentation(benchmark: BenchmarkFixture, task: Task) -> None:
    steps = iter(range(10_000))
    benchmark(lambda: task.bank.batch(0, next(steps), 8, 8))


@pytest.mark.benchmark(group="registration")
def test_six_sources_to_one_target(benchmark: BenchmarkFixture, task: Task, tmp_path: Path) -> None:
    sources = [v for v in task.bank.volumes if v.label is not None]
    engine = Engine(RegistrationConfig(), torch.device("cpu"))
    prepared = [prepare(v, engine.device) for v in (*sources, task.bank.volumes[-1])]
    names = [v.name for v in sources]
    benchmark.pedantic(
        lambda: TargetRegistration(names, prepared.__getitem__, engine, {}).compute("deformable"), rounds=3, warmup_rounds=1
    )


@pytest.mark.benchmark(group="contrast: seconds, and memory by image size (extra_info, MB)")
@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_contrast_against_image_size(benchmark: BenchmarkFixture, size: int) -> None:
    torch.manual_seed(0)
    module = PixelContrast([16, 24], 4, ContrastHparams())
    features = [torch.randn(24, width, size, size, requires_grad=True) for width in (16, 24)]
    classes = [torch.randint(0, 4, (24, size, size)) for _ in features]
    with PeakMemory() as forward:
        loss = module(features, classes)
    with PeakMemory() as backward:
        loss.backward()
    benchmark.extra_info |= {
        "features": round(sum(f.nbytes for f in features) / 1e6, 1),
        "loss": round(forward.peak / 1e6, 1),
        "gradient": round(backward.peak / 1e6, 1),
    }
    benchmark.pedantic(lambda: module(features, classes).backward(), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="metrics")
def test_metrics_of_a_volume(benchmark: BenchmarkFixture) -> None:
    y, x = np.mgrid[:256, :216]
    radius = np.hypot(y - 120, x - 110)
    label = np.repeat(((radius < 60).astype(np.uint8) + (radius < 45) + (radius < 30))[None], 10, 0)
    benchmark(lambda: volume_metrics(np.roll(label, 3, 2), label, 4, (10.0, 1.5, 1.5), 2.0))
