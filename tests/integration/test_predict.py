"""`predict`: what is written is what evaluation scored, on each scan's own grid, with the user's label values; strangers are told."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import commands as cli
from benchmark.cell.experiment import finished_method, run_cell
from benchmark.cell.prediction import largest_component, networks_of, weights_of
from benchmark.conformance.task import made_up_task
from benchmark.ground.rules import get_protocol
from benchmark.records.identity import Cell
from benchmark.records.store import WEIGHTS, Store
from benchmark.study.grid import expand, parse_methods
from benchmark.study.models import loaded, runs_like, the_cell
from datasets.phantom import generate
from datasets.preparing import prepare

CASES = [f"case{number:03}" for number in range(1, 8)]
USES = ("train", "train", "train", "val", "test", "test", "train")
VALUES = np.array([0, 7, 300, 2], np.int16)
"""Of the phantom's classes in the files: out of order, and one that no byte holds."""
AFFINES = (
    np.array([[0, -1.4, 0, 90], [0, 0, 1.4, -30], [-9.5, 0, 0, 40], [0, 0, 0, 1.0]]),
    np.array([[-1.4, 0.1, 0, 12.5], [0.1, -1.4, 0, -7], [0, 0, 9, 3], [0, 0, 0, 1.0]]),
    np.diag([1.4, 1.4, 9, 1.0]),
)
Predict = Callable[..., tuple[int, str]]


def stored(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A canonical array (X, Y, Z) on the axes that a file of this affine stores."""
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.io_orientation(affine))
    return orientations.apply_orientation(array, turn)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data in files of several orientations, a case of it without a mask, and a store of finished cells."""
    root = tmp_path_factory.mktemp("made")
    (root / "data").mkdir()
    rows = []
    for number, (case, use) in enumerate(zip(CASES, USES, strict=True)):
        volume, affine = generate(case)[0], AFFINES[number % len(AFFINES)]
        image = stored(np.round(volume.image[0].transpose(2, 1, 0) * 4095).astype(np.int16), affine)
        nibabel.save(nibabel.Nifti1Image(image, affine), root / "data" / f"{case}.nii.gz")
        if case != CASES[-1]:
            mask = stored(VALUES[volume.label].transpose(2, 1, 0), affine)
            nibabel.save(nibabel.Nifti1Image(mask, affine), root / "data" / f"{case}_seg.nii.gz")
        rows.append([case, f"{case}.nii.gz", f"{case}_seg.nii.gz" if case != CASES[-1] else "", use])
    with open(root / "data" / "cases.csv", "w", newline="") as file:
        csv.writer(file).writerows([["case", "image", "label", "split"], *rows])
    (root / "data" / "classes.yaml").write_text("right ventricle: 7\nmyocardium: 300\nleft ventricle: 2\n")
    store = Store(root / "store")
    dataset = prepare("folder", root / "data", store.datasets)
    protocol = get_protocol("smoke").model_copy(update={"steps": 60, "validations": 2})
    for cell in expand(dataset, parse_methods("supervised"), [1], [(0, 0), (0, 1)], protocol, ""):
        assert run_cell(cell, store, "cpu") == "done"
    for cell in expand(dataset, parse_methods("cps[rsl=true],label_propagation"), [1], [(0, 0)], get_protocol("smoke"), ""):
        assert run_cell(cell, store, "cpu") == "done"
    return root


def cell_of(made: Path, method: str) -> str:
    return min(path.name for path in (made / "store" / "folder" / method).iterdir())


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Predict:
    def run(*options: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["benchmark", "predict", "--device", "cpu", *map(str, options)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return int(ended.value.code or 0), told.out + told.err

    return run


def dice_outside(made: Path, out: Path, case: str) -> dict[int, float]:
    """DSC by label value, from files alone."""
    mask = np.asarray(nibabel.load(out / f"{case}.nii.gz").dataobj)
    truth = np.asarray(nibabel.load(made / "data" / f"{case}_seg.nii.gz").dataobj)
    return {int(v): 2 * ((mask == v) & (truth == v)).sum() / ((mask == v).sum() + (truth == v).sum()) for v in VALUES[1:]}


@pytest.mark.parametrize("method", ["supervised", "cps", "label_propagation"])
def test_masks_score_outside_what_the_record_says(method: str, made: Path, tmp_path: Path, predict: Predict) -> None:
    scans = [made / "data" / f"{case}.nii.gz" for case in CASES[4:6]]
    code, said = predict("--cell", cell_of(made, method), "--store", made / "store", "--out", tmp_path, "--images", *scans)
    assert code == 0 and "2 of 2 scans segmented" in said, said
    table = pd.read_csv(made / "store" / "folder" / method / cell_of(made, method) / "cases.csv")
    record = json.loads((made / "store" / "folder" / method / cell_of(made, method) / "record.json").read_text())
    table = table[(table["selection"] == "last") & (table["metric"] == "dsc") & (table["network"] == record["reported"])]
    names = {7: "right ventricle", 300: "myocardium", 2: "left ventricle"}
    for scan in scans:
        mask, image = nibabel.load(tmp_path / scan.name), nibabel.load(scan)
        assert mask.shape == image.shape and np.array_equal(mask.affine, image.affine)
        assert set(np.unique(np.asarray(mask.dataobj))) <= set(VALUES.tolist())
        case = scan.name.removesuffix(".nii.gz")
        for value, found in dice_outside(made, tmp_path, case).items():
            (expected,) = table.loc[(table["case"] == case) & (table["class"] == names[value]), "value"]
            assert found == pytest.approx(expected, abs=1e-12)
    rows = pd.read_csv(tmp_path / "predictions.csv")
    mask = np.asarray(nibabel.load(tmp_path / scans[0].name).dataobj)
    first = rows[rows["scan"] == CASES[4]].set_index("value")
    voxel = abs(np.linalg.det(nibabel.load(scans[0]).affine[:3, :3])) / 1000
    for value in VALUES[1:]:
        assert first.loc[value, "voxels"] == (mask == value).sum()
        assert first.loc[value, "ml"] == pytest.approx((mask == value).sum() * voxel, rel=1e-3, abs=1e-3)
    assert (tmp_path / "contact_sheet.png").stat().st_size > 1000


def test_own_unlabelled_cases_go_back_to_their_own_grids(made: Path, tmp_path: Path, predict: Predict) -> None:
    code, said = predict(
        "--best", "--store", made / "store", "--out", tmp_path, "--probabilities", "--uncertainty", "--ensemble"
    )
    assert code == 0 and "best on validation" in said and "with 1 runs like it" in said, said
    done = {name.removesuffix(".nii.gz") for name in (p.name for p in tmp_path.glob("case*.nii.gz")) if "_" not in name}
    assert CASES[-1] in done and CASES[0] not in done and not done & {*CASES[3:6]}
    image = nibabel.load(made / "data" / f"{CASES[-1]}.nii.gz")
    mask = nibabel.load(tmp_path / f"{CASES[-1]}.nii.gz")
    assert np.array_equal(mask.affine, image.affine) and mask.shape == image.shape
    found = {
        part: nibabel.load(tmp_path / f"{CASES[-1]}_{part}.nii.gz").get_fdata()
        for part in ("probabilities", "entropy", "disagreement")
    }
    classes = found["probabilities"].argmax(-1)
    assert np.array_equal(VALUES[classes], np.asarray(mask.dataobj))
    assert np.allclose(found["probabilities"].sum(-1), 1, atol=1e-5)
    p = found["probabilities"].clip(1e-12)
    assert np.allclose(found["entropy"], -(p * np.log(p)).sum(-1) / np.log(4), atol=1e-5)
    assert set(np.unique(found["disagreement"])) <= {0.0, 0.5, 1.0}
    before = (tmp_path / f"{CASES[-1]}.nii.gz").stat().st_mtime_ns
    again = ("--best", "--store", made / "store", "--out", tmp_path, "--ensemble")
    assert predict(*again)[0] == 0 and (tmp_path / f"{CASES[-1]}.nii.gz").stat().st_mtime_ns == before
    code, said = predict(*again[:-1])
    assert code == 2 and "holds predictions of" in said and "name another folder" in said


def test_labels_propagate_to_scans_that_nobody_registered_before(made: Path, tmp_path: Path, predict: Predict) -> None:
    volume = generate("case020")[0]
    image = np.round(volume.image[0].transpose(2, 1, 0) * 4095).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(image, np.diag([*volume.spacing[::-1], 1.0])), tmp_path / "new.nii.gz")
    options = ("--cell", cell_of(made, "label_propagation"), "--store", made / "store", "--out", tmp_path / "out")
    code, said = predict(*options, "--images", tmp_path / "new.nii.gz")
    assert code == 0, said
    mask = np.asarray(nibabel.load(tmp_path / "out" / "new.nii.gz").dataobj)
    assert 2 * ((mask > 0) & (volume.label.T > 0)).sum() / ((mask > 0).sum() + (volume.label.T > 0).sum()) > 0.2
    code, said = predict(*options, "--images", tmp_path / "new.nii.gz", "--flips")
    assert code == 2 and "has no network" in said


def test_strangers_are_told_with_numbers_and_nothing_is_written(made: Path, tmp_path: Path, predict: Predict) -> None:
    volume = generate(CASES[4])[0]
    image = np.round(volume.image[0].transpose(2, 1, 0) * 4095).astype(np.int16)
    right = np.diag([1.4, 1.4, 9.0, 1.0])
    strangers = {
        "swapped": (image.transpose(0, 2, 1), right, "extent across rows"),
        "spacing": (image, np.diag([1.4, 1.4, 30.0, 1.0]), "spacing of slices is 30 mm; in training 9 to 9.5"),
        "channels": (np.stack([image, image], -1), right, "has 2 channels; expected 1 as in the other cases"),
        "dark": (np.where(np.indices(image.shape).sum(0) == 30, image, 0), right, "contrast"),
    }
    (tmp_path / "scans").mkdir()
    for name, (array, affine, _) in strangers.items():
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "scans" / f"{name}.nii.gz")
    shutil.copy(made / "data" / f"{CASES[5]}.nii.gz", tmp_path / "scans" / "good.nii.gz")
    options = ("--cell", cell_of(made, "supervised"), "--store", made / "store", "--out", tmp_path / "out")
    code, said = predict(*options, "--images", tmp_path / "scans")
    assert code == 2 and "4 of 5 scans were refused" in said and "1 of 5 scans segmented" in said, said
    for name, (_, _, told) in strangers.items():
        (line,) = (line for line in said.splitlines() if line.startswith(f"refused: {name}:"))
        assert told in line, line
    assert {path.name for path in (tmp_path / "out").glob("*.nii.gz")} == {"good.nii.gz"}
    code, said = predict(*options, "--images", tmp_path / "scans" / "spacing.nii.gz", "--force")
    affines = [nibabel.load(tmp_path / folder / "spacing.nii.gz").affine for folder in ("scans", "out")]
    assert code == 0 and np.array_equal(*affines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--best", "--cell", "x"), "expected one of --cell ID, --best and --model FOLDER"),
        ((), "expected one of --cell ID, --best and --model FOLDER"),
        (("--cell", "nothing"), "holds no cell nothing"),
        (("--model", "nowhere", "--images", "x.nii"), "has no model.json"),
        (("--best", "--images", "nowhere.nii"), "nowhere.nii cannot be found"),
    ],
)
def test_bad_options_are_one_sentence(
    options: tuple[str, ...], told: str, made: Path, tmp_path: Path, predict: Predict
) -> None:
    code, said = predict(*options, "--store", made / "store", "--out", tmp_path / "out")
    assert code == 2 and told in said and not list(tmp_path.glob("out/*.nii.gz")), said


def test_networks_predict_without_training_volumes_what_they_predict_with_them(made: Path) -> None:
    store = Store(made / "store")
    cell, _ = the_cell(store, cell_of(made, "cps"))
    whole, _ = finished_method(cell, store)
    with loaded(store.root, False, cell.id, False, None, "cpu") as found:
        light = found.predictor.methods[0]
        again = networks_of(cell, found.predictor.knowledge, weights_of(light), torch.device("cpu"))
    assert "rsl.overlap" in whole.state_dict()
    image = torch.rand(2, 1, 32, 32)
    for name, wanted in whole.predictions(image).items():
        assert torch.equal(light.predictions(image)[name], wanted) and torch.equal(again.predictions(image)[name], wanted)
    assert len(runs_like(store, the_cell(store, cell_of(made, "supervised"))[0])) == 2


def test_weights_of_every_method_do_without_training_volumes() -> None:
    """Of every built-in: predictions of a method on a bank are those of the same weights on made-up slices."""
    from benchmark.cell.prediction import Knowledge
    from benchmark.ground import registry
    from datasets.reading import Reading
    from methods.method import Method

    task, protocol = made_up_task(), get_protocol("smoke")
    reading = Reading(windows=((0.0, 1.0),), values=tuple(range(task.classes)))
    names = tuple(map(str, range(task.classes)))
    knowledge = Knowledge(dataset="phantom", classes=names, channels=task.channels, spacing=(1, 1, 1), reading=reading, seen={})
    for name in registry.built_ins("methods"):
        kind = registry.load("methods", name)
        if not issubclass(kind, Method):
            continue
        given = {"rsl": True} if "rsl" in kind.Hparams.model_fields else {}
        method = kind(task, kind.Hparams(**given)).eval()
        cell = Cell(
            dataset="phantom", data_hash="", method=name, variant=name, hparams=kind.Hparams(**given).model_dump(mode="json"),
            labels=1, draw=0, seed=0, labelled=("a",), protocol=task.protocol,
        )  # fmt: skip
        light = networks_of(cell, knowledge, weights_of(method), torch.device("cpu"))
        image = torch.rand(1, task.channels, protocol.image_size, protocol.image_size)
        with torch.no_grad():
            for network, wanted in method.predictions(image).items():
                assert torch.equal(light.predictions(image)[network], wanted), (name, network)


def test_the_largest_component_alone_is_kept() -> None:
    label = np.zeros((2, 4, 6), np.uint8)
    label[:, :2, :2], label[0, 3, 5], label[1, 3, 3:5] = 1, 1, 2
    kept = largest_component(label, [1])
    assert kept[0, 3, 5] == 0 and (kept[:, :2, :2] == 1).all() and (kept[1, 3, 3:5] == 2).all() and label[0, 3, 5] == 1


def test_a_damaged_weight_is_named(made: Path, tmp_path: Path, predict: Predict) -> None:
    shutil.copytree(made / "store", tmp_path / "store")
    name = cell_of(made, "supervised")
    (tmp_path / "store" / "folder" / "supervised" / name / WEIGHTS).write_bytes(b"")
    code, said = predict("--cell", name, "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert code == 2 and "its weights are not there or not as they were written" in said


@pytest.fixture(scope="module")
def packaged(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged model, and no store beside it."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    packaging = pytest.importorskip("benchmark.study.packaging")
    with loaded(made / "store", False, cell_of(made, "supervised"), False, None, "cpu") as found:
        packaging.package(found, found.choosing_largest(), Store(made / "store"), folder)
    return folder


def test_a_packaged_model_predicts_what_its_cell_does(packaged: Path, made: Path, tmp_path: Path, predict: Predict) -> None:
    scan = made / "data" / f"{CASES[4]}.nii.gz"
    assert predict("--model", packaged, "--out", tmp_path / "a", "--images", scan, "--largest-component")[0] == 0
    options = ("--cell", cell_of(made, "supervised"), "--store", made / "store", "--largest-component")
    assert predict(*options, "--out", tmp_path / "b", "--images", scan)[0] == 0
    assert (tmp_path / "a" / scan.name).read_bytes() == (tmp_path / "b" / scan.name).read_bytes()
    code, said = predict("--model", packaged, "--out", tmp_path / "a", "--images", scan)
    assert code == 2 and "holds predictions of" in said
    code, said = predict("--model", packaged, "--out", tmp_path / "c")
    assert code == 2 and "knows no scans of its own" in said


def test_a_card_says_what_the_record_says(packaged: Path, made: Path) -> None:
    card = (packaged / "MODEL_CARD.md").read_text()
    (row,) = (line for line in card.splitlines() if line.startswith("| test | dsc | all |"))
    table = pd.concat(pd.read_csv(file) for file in (made / "store" / "folder" / "supervised").glob("*/cases.csv"))
    table = table[(table["selection"] == "last") & (table["metric"] == "dsc")]
    assert f"| {table['value'].mean():.3f} |" in row and "| 2 | 2 |" in row
    records = [json.loads(file.read_text()) for file in (made / "store" / "folder" / "supervised").glob("*/record.json")]
    assert ("**Not converged**" in card) == any(record["never_predicted"] for record in records)
    assert "300 = myocardium" in card and "licence of the data: not stated" in card and "no medical device" in card


def test_a_package_holds_nothing_of_a_patient(packaged: Path, made: Path) -> None:
    with loaded(made / "store", False, cell_of(made, "cps"), False, None, "cpu") as found:
        (method,) = found.predictor.methods
    assert "rsl.overlap" in method.state_dict() and b"rsl.overlap" not in weights_of(method)
    text = (packaged / "model.json").read_text()
    assert str(made) not in text and "places" in text and CASES[4] not in text


def test_a_package_whose_weights_changed_is_refused(packaged: Path, made: Path, tmp_path: Path, predict: Predict) -> None:
    shutil.copytree(packaged, tmp_path / "model")
    (weights,) = (tmp_path / "model").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    scan = made / "data" / f"{CASES[4]}.nii.gz"
    code, said = predict("--model", tmp_path / "model", "--out", tmp_path / "out", "--images", scan)
    assert code == 2 and "missing or not as it was written" in said


def test_what_propagates_labels_is_not_packaged(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["benchmark", "package", "--cell", cell_of(made, "label_propagation"), "--store", made / "store", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and "has no weights" in capsys.readouterr().err


def test_onnx_gives_torch_s_probabilities(made: Path, tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    from benchmark.study.packaging import export_onnx

    with loaded(made / "store", False, cell_of(made, "supervised"), False, None, "cpu") as found:
        (file,), why = export_onnx(found.predictor, tmp_path)
    assert why == "" and file.stat().st_size > 1000
    import onnxruntime

    image = torch.rand(3, 1, 32, 32)
    (found_by_onnx,) = onnxruntime.InferenceSession(str(file)).run(None, {"image": image.numpy()})
    (method,) = found.predictor.methods
    with torch.no_grad():
        wanted = next(iter(method.predictions(image).values())).numpy()
    assert np.abs(found_by_onnx - wanted).max() < 1e-4
