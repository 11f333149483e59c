"""Seconds and memory of parts that have no counterpart to be compared with. Compare rows of one run only."""

from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from datasets.registration.engine import Engine, RegistrationConfig, prepare
from datasets.registration.pairs import TargetRegistration
from methods.method import Task
from methods.parts.contrast import Candidates, ContrastHparams, PixelContrast
from tests.benchmarks.scenes import phantom_task
from tests.methods.memory import PeakMemory


@pytest.fixture(scope="module")
def task() -> Task:
    """The phantom's training set at `quick`, with three labelled cases and no registrations."""
    return phantom_task()


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
    candidates = Candidates(torch.randint(0, 4, (len(features), 24, size, size)), labelled=12)
    with PeakMemory() as forward:
        loss = module(features, candidates)
    with PeakMemory() as backward:
        loss.backward()
    benchmark.extra_info |= {
        "features": round(sum(f.nbytes for f in features) / 1e6, 1),
        "loss": round(forward.peak / 1e6, 1),
        "gradient": round(backward.peak / 1e6, 1),
    }
    benchmark.pedantic(lambda: module(features, candidates).backward(), rounds=3, warmup_rounds=1)
