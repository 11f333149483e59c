"""What must hold on a GPU, `make gpu-test`: it finds what the CPU finds. The rest runs anywhere; device mixing is looked for there, too."""

import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from benchmark.cell.experiment import run_cell
from benchmark.ground.rules import get_protocol
from benchmark.records.store import Store
from benchmark.study.grid import expand, parse_methods
from datasets.preparing import open_dataset
from datasets.registration import Recipe, Registrations
from datasets.registration.engine import Engine, Prepared, RegistrationConfig
from datasets.registration.transform import Frame, Transform, warp_label
from tests.datasets.layouts import acdc_slices
from tests.datasets.test_registration import dice, heart
from tests.gpu.devices import DEVICES, GPU, TRAINED, comparable, differences, first_update, gpu, keep, running_on, terms_of
from tests.gpu.simulated import DEVICE, second_device

VARIANTS = ["cctr[rsl_source=vote]", "cctr[rsl_source=agreement]", "mean_teacher[rsl=true]"]
FIRST, LATER = 2e-3, 3e-2
"""Relative tolerance of a term at the first step, of rounding alone; and of the next ones, where a pixel's pseudo-label may have turned."""
HALF = 3e-2
"""The same between float32 and bfloat16, which has 8 bits."""


def test_the_engine_keeps_to_its_device() -> None:
    """Tensors of two devices in one operation raise; the meta device shows it without a GPU."""
    with pytest.raises(RuntimeError):
        torch.ones(2) + torch.ones(2, device="meta")
    device = torch.device("meta")
    engine = Engine(RegistrationConfig(), device)
    frame = Frame((8, 56, 56), (9.0, 2.5, 2.5))
    image, zero = torch.zeros(1, 1, *frame.shape, device=device), torch.zeros(3, device=device)
    source, target = Prepared(image, frame, False, image, zero), Prepared(image, frame, False, None, zero)
    start = Transform(frame, frame, torch.eye(3, 4, device=device))
    (affine,) = engine.refine([source], [target], [start], [zero])
    (warped,) = engine.warp([source], [target], [affine], [zero])
    assert warped.velocity is not None and warped.velocity.device == affine.affine.device == device


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*TRAINED, *VARIANTS])
def test_terms_of_the_first_steps_agree_with_the_cpu(name: str, device: str) -> None:
    first, *later = differences(terms_of(name, "cpu"), terms_of(name, device))
    assert max(first.values()) < FIRST, first
    assert all(max(row.values()) < LATER for row in later), later


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("name", [*TRAINED, *VARIANTS])
def test_a_step_in_half_precision_goes_the_same_way(name: str, device: str) -> None:
    """Terms are a few percent off at most, and their gradient has the same direction, which it has not where a term loses its own."""
    (terms, whole), (half_terms, half) = (first_update(name, device, precision) for precision in ("float32", "bfloat16"))
    (off,) = differences([terms], [half_terms])
    assert max(off.values()) > 0 and all(off[term] < HALF for term in terms if terms[term] > 1e-3), off
    assert torch.cosine_similarity(whole, half, 0) > 0.99
    assert float(half.norm() / whole.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("device", [GPU])
@pytest.mark.parametrize("name", ["supervised", "cps", "cctr"])
def test_half_precision_scores_within_the_interval(tmp_path: Path, name: str, device: str) -> None:
    """The paired difference of five seeds at `quick`, in DSC; the table is kept."""
    store, dataset = Store(tmp_path / "store"), open_dataset("phantom", None)
    rows = []
    for seed in range(5):
        row: dict[str, float | str] = {"method": name, "seed": seed}
        for precision in ("float32", "bfloat16"):
            protocol = get_protocol("quick").model_copy(update={"precision": precision, "name": f"quick-{precision}"})
            (cell,) = expand(dataset, parse_methods(name), [3], [(0, seed)], protocol, "")
            assert run_cell(cell, store, device) == "done"
            scores = pd.read_csv(store.folder(cell).path / "cases.csv")
            row[precision] = scores.query("metric == 'dsc' and selection == 'last'")["value"].mean()
        rows.append(row)
    table = pd.DataFrame(rows)
    keep(table, f"half_precision_{name}", device, tmp_path)
    off = table["bfloat16"] - table["float32"]
    assert abs(off.mean()) < max(0.01, stats.t.ppf(0.975, len(off) - 1) * off.std() / len(off) ** 0.5), table.to_string()


def test_a_term_that_is_one_in_fifty_off_is_seen() -> None:
    first, *_ = differences(terms_of("mean_teacher", "cpu"), terms_of("mean_teacher[consistency=0.102]", "cpu"))
    assert first["supervised"] < FIRST < first["consistency"]


@pytest.mark.parametrize("device", DEVICES)
def test_draws_are_the_same_everywhere_and_float32_is_whole(device: str) -> None:
    def draw(where: str) -> list[torch.Tensor]:
        torch.manual_seed(3)
        empty, even = torch.empty(50, device=where), torch.full((50,), 0.5, device=where)
        found = [empty.uniform_(), torch.rand(4, 5, device=where), torch.randn_like(empty), torch.randperm(9, device=where)]
        found += [torch.randint(7, (30,), device=where), torch.bernoulli(even), F.dropout2d(even.view(1, 50, 1, 1))]
        return [tensor.flatten() for tensor in found]

    with comparable(device):
        for here, there in zip(draw("cpu"), draw(device), strict=True):
            assert there.device.type == device and torch.equal(here, there.cpu())
        fine, one = torch.full((8, 64, 32, 32), 1 + 2**-14, device=device), torch.eye(64, device=device)
        for product in (F.conv2d(fine, one[:, :, None, None]), fine.movedim(1, -1).reshape(-1, 64) @ one):
            assert float(product.min()) == float(product.max()) == 1 + 2**-14  # TF32 has 10 bits and makes it 1


def test_the_simulated_device_refuses_what_a_gpu_refuses() -> None:
    with second_device() as device:
        here, there = torch.arange(4.0), torch.arange(4.0, device=device)
        rows = torch.tensor([2, 0], device=device)
        refused = [
            lambda: here + there,
            lambda: torch.cat([there, here]),
            lambda: here[rows],
            lambda: there.index_select(0, rows.cpu()),
            lambda: torch.where(there > 1, here, there),
            lambda: there.numpy(),
        ]
        for mixed in refused:
            with pytest.raises((RuntimeError, TypeError)):
                mixed()
        there[rows.cpu()] += torch.tensor(10.0)
        assert (there * here.sum()).tolist() == [60.0, 6.0, 72.0, 18.0] and there.cpu().numpy().sum() == 26


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["affine", "deformable"])
def test_registration_agrees_with_the_cpu(tmp_path: Path, kind: str, device: str) -> None:
    """The same source is best, as alike and with as good a label; how long both took is kept."""
    volumes = [heart("a_1", labelled=True), heart("b_1", (18.0, -9.0), labelled=True), heart("c_1", (-20.0, 14.0), 1.1)]
    truth = heart("c_1", (-20.0, 14.0), 1.1, labelled=True).label
    assert truth is not None
    rows = []
    for place in ("cpu", device):
        began = time.perf_counter()
        cache = tmp_path / f"cache{len(rows)}"
        with running_on(place):
            found = Registrations.load(volumes, Recipe(kind), cache, torch.device(place))  # type: ignore[arg-type]
        seconds, best = time.perf_counter() - began, found.candidates[2][0]
        label = warp_label(best.transform, torch.from_numpy(volumes[best.source].label))
        score = dice(label, torch.from_numpy(truth))
        rows.append({"device": place, "kind": kind, "seconds": seconds, "source": best.source})
        rows[-1] |= {"similarity": best.similarity, "dice": score}
    keep(pd.DataFrame(rows), f"registration_{kind}", device, tmp_path)
    cpu, other = rows
    assert cpu["source"] == other["source"] and float(cpu["dice"]) > 0.7
    for name in ("similarity", "dice"):
        assert other[name] == pytest.approx(cpu[name], abs=0.03), name


CELLS = [pytest.param("cross_teaching", DEVICE.type, id="cross_teaching-simulated")]
CELLS += [pytest.param(n, "cuda", marks=gpu, id=f"{n}-gpu") for n in ("cctr", "label_propagation", "mean_teacher[rsl=true]")]


@pytest.mark.filterwarnings("ignore:.*no-op")
@pytest.mark.parametrize(("name", "device"), CELLS)
def test_a_cell_runs_on_the_device(tmp_path: Path, name: str, device: str) -> None:
    acdc_slices(tmp_path / "raw")
    dataset = open_dataset("acdc", tmp_path / "raw")
    (cell,) = expand(dataset, parse_methods(name), [1], [(0, 0)], get_protocol("smoke"), "")
    store = Store(tmp_path / "store")
    with running_on(device):
        outcome = run_cell(cell, store, device)
    record = store.folder(cell).record()
    assert outcome == "done" and record is not None, record and record.get("traceback")
