"""What must hold on a GPU: `python -m pytest -m gpu`. Skipped where there is none; device mixing is also looked for without one."""

from pathlib import Path

import pytest
import torch

from benchmark.conformance import SHIFTS, blob_volume, known_registrations
from benchmark.environment import make_deterministic
from benchmark.experiment import run_cell
from benchmark.grid import expand, parse_methods
from benchmark.protocol import get_protocol
from benchmark.store import Store
from datasets.phantom import Phantom
from datasets.registration import Recipe, Registrations
from datasets.registration.engine import Engine, Prepared, RegistrationConfig
from datasets.registration.transform import Frame, Transform, warp_label
from datasets.slices import SliceBank
from methods.cctr.method import CCTR
from methods.method import Step, Task
from tests.datasets.test_registration import dice, heart

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


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


@pytest.mark.parametrize("kind", [pytest.param("affine", marks=gpu), pytest.param("deformable", marks=gpu)])
def test_registration_agrees_with_the_cpu(tmp_path: Path, kind: str) -> None:
    volumes = [heart("a_1", labelled=True), heart("b_1", (18.0, -9.0), labelled=True), heart("c_1", (-20.0, 14.0), 1.1)]
    truth = heart("c_1", (-20.0, 14.0), 1.1, labelled=True).label
    assert truth is not None
    found = {}
    for device in ("cpu", "cuda"):
        registrations = Registrations.load(volumes, Recipe(kind), tmp_path, torch.device(device))  # type: ignore[arg-type]
        best = registrations.candidates[2][0]
        label = warp_label(best.transform, torch.from_numpy(volumes[best.source].label))
        found[device] = (best.source, best.similarity, dice(label, torch.from_numpy(truth)))
    assert found["cpu"][0] == found["cuda"][0]
    assert found["cuda"][1:] == pytest.approx(found["cpu"][1:], abs=0.03)


@pytest.mark.parametrize("source", [pytest.param(s, marks=gpu) for s in ("vote", "agreement")])
def test_terms_of_cctr_agree_with_the_cpu(source: str) -> None:
    make_deterministic()
    protocol = get_protocol("smoke").model_copy(
        update={"unet_dropout": (0.0, 0.0, 0.0)}  # the generators of the two devices differ
    )
    volumes = [blob_volume(n, s, n[0] in "ab") for n, s in SHIFTS.items()]
    terms: dict[str, dict[str, float]] = {}
    for device in ("cpu", "cuda"):
        bank = SliceBank(volumes, protocol.image_size, torch.device(device))
        task = Task(4, 1, protocol, bank, lambda recipe: known_registrations(volumes, SHIFTS), lambda volume, recipe: [])
        torch.manual_seed(0)
        method = CCTR(task, CCTR.Hparams(rsl_source=source)).to(device)  # type: ignore[arg-type]
        batch = bank.batch(0, 3, 4, 4)
        method.losses(batch, Step(5, 20))  # fills the memory of REPS
        terms[device] = {name: float(value) for name, value in method.losses(batch, Step(6, 20)).items()}
        assert all(p.device.type == device for p in method.parameters())
    for name in ("supervised_a", "supervised_b", "exchange_a", "exchange_b", "rsl"):
        assert terms["cuda"][name] == pytest.approx(terms["cpu"][name], rel=0.02), name
    assert terms["cuda"]["contrast"] == pytest.approx(terms["cpu"]["contrast"], rel=0.15)  # other pixels are sampled


@pytest.mark.parametrize("name", [pytest.param(n, marks=gpu) for n in ("cctr", "label_propagation", "mean_teacher[rsl=true]")])
def test_a_cell_runs_on_the_gpu(tmp_path: Path, name: str) -> None:
    (cell,) = expand(Phantom(), parse_methods(name), [1], [(0, 0)], get_protocol("smoke"), "")
    store = Store(tmp_path)
    outcome, record = run_cell(cell, store, "cuda"), store.folder(cell).record()
    assert outcome == "done" and record is not None, record and record.get("traceback")
