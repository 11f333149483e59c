"""Predictions: slices of many volumes at once are those of each volume alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmark.cell.evaluation import SLICES_AT_ONCE, evaluate, never_predicted, predict, validation_score
from benchmark.cell.metrics import volume_metrics
from benchmark.ground import registry
from benchmark.ground.rules import get_protocol
from datasets.dataset import Volume
from methods.method import Method, Task
from tests.methods.conftest import make_task  # noqa: F401 - a fixture

CPU = torch.device("cpu")
DEPTHS = (5, 1, 40, 27, 9, 64)


@pytest.fixture
def volumes() -> list[Volume]:
    """Volumes of different depth and slice size, whose slices fill several chunks, none of them whole."""
    rng = np.random.default_rng(0)
    found = []
    for number, depth in enumerate(DEPTHS):
        shape = (depth, 30 + number, 41 - number)
        label = rng.integers(0, 3, shape).astype(np.uint8)
        image = rng.random((1, *shape), np.float32)
        found.append(
            Volume(f"case{number}_frame1", f"case{number}", image, label, (8.0, 1.5, 1.5), spacing_known=number % 2 == 0)
        )
    assert sum(DEPTHS) % SLICES_AT_ONCE and sum(DEPTHS) > 4 * SLICES_AT_ONCE
    return found


@pytest.mark.parametrize("name", ["supervised", "cross_teaching", "ema_self_training"])
def test_volumes_together_are_predicted_as_each_alone(
    make_task: Callable[..., Task],  # noqa: F811
    volumes: list[Volume],
    name: str,
) -> None:
    torch.manual_seed(0)
    method_class = registry.load("methods", name)
    method: Method = method_class(make_task(), method_class.Hparams())  # type: ignore[attr-defined]
    together = list(predict(method, volumes, method.task.protocol, CPU))
    assert method.training and len(together) == len(volumes)
    for volume, found in zip(volumes, together, strict=True):
        (alone,) = predict(method, [volume], method.task.protocol, CPU)
        assert found.keys() == alone.keys()
        for network, label in found.items():
            assert label.shape == volume.image.shape[1:] and label.dtype == np.uint8
            assert np.array_equal(label, alone[network])
        (reported,) = next(predict(method, [volume], method.task.protocol, CPU, reported_only=True)).values()
        assert np.array_equal(reported, next(iter(alone.values())))


def test_rows_are_the_metrics_of_each_volume(make_task: Callable[..., Task], volumes: list[Volume]) -> None:  # noqa: F811
    method_class = registry.load("methods", "supervised")
    torch.manual_seed(0)
    method: Method = method_class(make_task(), method_class.Hparams())  # type: ignore[attr-defined]
    protocol = method.task.protocol
    some = volumes[:3]
    rows = evaluate(method, some, ("background", "a", "b"), protocol, CPU, {"test_set": "test"})
    assert {row["test_set"] for row in rows} == {"test"}
    dice = []
    for volume, predictions in zip(some, predict(method, some, protocol, CPU), strict=True):
        spacing = volume.spacing if volume.spacing_known else (1.0, 1.0, 1.0)
        expected = volume_metrics(predictions["network"], volume.label, 3, spacing, protocol.tolerance)
        found = [(row["class"], row["metric"], row["value"]) for row in rows if row["case"] == volume.case]
        assert found == [("_ab"[number], metric, value) for number, metric, value in expected]
        dice += [value for _, metric, value in expected if metric == "dsc"]
    assert validation_score(method, some, (1, 2), protocol, CPU) == pytest.approx(np.mean(dice))


def test_classes_that_are_there_and_never_predicted_are_named() -> None:
    classes = ("background", "a", "b", "c")
    image = np.zeros((1, 2, 16, 16), dtype=np.float32)
    label = np.zeros((2, 16, 16), dtype=np.uint8)
    label[0, :8], label[1, 8:] = 1, 2  # c is in no volume

    class Says(torch.nn.Module):
        def __init__(self, *found: int) -> None:
            super().__init__()
            self.found = found

        def predictions(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            first, second = (torch.zeros(len(image), 4, *image.shape[2:]) for _ in range(2))
            first[:, 0] = 0.5
            for column, k in enumerate(self.found):
                first[:, k, :, 8 * column : 8 * column + 8] = 1
            second[:, 3] = 1
            return {"reported": first, "other": second}

    volumes = [Volume(f"v{i}", "v", image, label, (1.0, 1.0, 1.0)) for i in range(2)]
    for found, missing in (((), ["a", "b"]), ((1,), ["b"]), ((2, 3), ["a"]), ((1, 2), [])):
        said = never_predicted(Says(*found), volumes, classes, get_protocol("smoke"), CPU)
        assert said == missing


def test_ignored_voxels_and_classes_that_no_case_shows_enter_no_score(monkeypatch) -> None:
    from benchmark.cell import evaluation
    from datasets.slices import IGNORE

    label = np.zeros((2, 6, 6), np.uint8)
    label[0, :3], label[:, 3] = 1, IGNORE
    said = np.where(label == 1, 1, 0).astype(np.uint8)
    said[:, 3] = 2  # wrong, were it not where no class is meant
    volume = Volume("v", "c", np.zeros((1, 2, 6, 6), np.float32), label, (1, 1, 1))
    monkeypatch.setattr(evaluation, "predict", lambda *given, **also: iter([{"network": said}]))
    protocol, names = get_protocol("smoke"), ("background", "a", "b")
    rows = evaluate(None, [volume], names, protocol, CPU, {})  # type: ignore[arg-type]
    assert {(row["class"], row["value"]) for row in rows if row["metric"] == "dsc"} == {("a", 1.0), ("b", 1.0)}
    (row,) = (row for row in evaluate(None, [volume], names, protocol, CPU, {}, (1,)) if row["metric"] == "dsc")  # type: ignore[arg-type]
    assert row["class"] == "a"
    said[1] = 1  # now a is half wrong: of 18 + 30 voxels asked for, 18 are right
    assert validation_score(None, [volume], (1,), protocol, CPU) == pytest.approx(2 * 18 / (18 + 18 + 30))  # type: ignore[arg-type]
    assert never_predicted(None, [volume], names, protocol, CPU) == []  # type: ignore[arg-type]
