"""Formats beside NIfTI, M&Ms, settings of a folder, and the hints of ``prepare --suggest``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.folder import Folder
from datasets.formats import header_of, parts_of, values_of
from datasets.images import Images
from datasets.mnms import MNMs
from datasets.pairing import pair_folders
from datasets.suggest import suggest
from datasets.tables import read_table
from tests.datasets import odd_files as odd
from tests.datasets.odd_files import affine, described, nnunet, pairs, save, scan, table


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_itk_s_files_are_read_as_nifti_is(ending: str, tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    array, _ = scan(1)
    save(tmp_path / "x.nii.gz", array[::-1, :, :], affine() @ np.diag([-1.0, 1, 1, 1]))
    itk.WriteImage(itk.ReadImage(str(tmp_path / "x.nii.gz")), str(tmp_path / f"x{ending}"))
    (one, grid), (other, like) = values_of(tmp_path / "x.nii.gz"), values_of(tmp_path / f"x{ending}")
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(grid.affine, like.affine, atol=1e-4)
    assert grid.codes == like.codes and header_of(tmp_path / f"x{ending}").shape == grid.shape
    (tmp_path / f"y{ending}").write_bytes((tmp_path / f"x{ending}").read_bytes()[:300])
    with pytest.raises(BadInput, match="truncated or damaged"):
        values_of(tmp_path / f"y{ending}")


def dicom(home: Path, array: np.ndarray, form: str, places: list[float], name: str = "1.2.3.4") -> None:
    """A series, a file a slice, numbered in another order than they lie; ``places`` of the slices in mm."""
    itk = pytest.importorskip("SimpleITK")
    writer = itk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    home.mkdir(parents=True, exist_ok=True)
    for k, place in enumerate(places):
        plane = itk.GetImageFromArray(array[None, :, :, k].transpose(0, 2, 1))
        plane.SetSpacing((1.5, 1.5, 8.0))
        tags = {
            "0020|0032": f"20\\-5\\{place}",
            "0020|0037": "-1\\0\\0\\0\\-1\\0",
            "0020|0013": str(k),
            "0008|0060": "MR",
            "0020|000e": name,
            "0020|000d": "1.2.3",
            "0008|0018": f"{name}.{k + 1}",
        }
        for tag, value in tags.items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(home / form.format(99 - k)))
        writer.Execute(plane)


@pytest.mark.parametrize("form", ["{}.dcm", "IM{:04}", "{}.IMA"])
def test_a_folder_of_one_dicom_series_is_a_volume(form: str, tmp_path: Path) -> None:
    array = np.round(scan(1)[0]).astype(np.int16)
    for home in ("imagesTr/c00", "labelsTr/c00"):
        dicom(tmp_path / home, array, form, [30.0 + 8 * k for k in range(6)])
        (tmp_path / home / ".DS_Store").write_bytes(b"x")
        (tmp_path / home / "notes.txt").write_text("x")
    values, grid = values_of(tmp_path / "imagesTr/c00")
    np.testing.assert_array_equal(values[0], array)
    np.testing.assert_allclose(grid.spacing, (1.5, 1.5, 8), atol=1e-4)
    np.testing.assert_allclose(grid.affine, affine(), atol=1e-4)
    assert header_of(tmp_path / "imagesTr/c00").shape == grid.shape
    pairs = pair_folders(tmp_path / "imagesTr", tmp_path / "labelsTr")
    assert pairs.sources["c00"].label == tmp_path / "labelsTr/c00" and not pairs.told
    table = tmp_path / "cases.csv"
    table.write_text("case,image,label,split\nc,imagesTr/c00,labelsTr/c00,train\n")
    assert read_table(table).files["c"]["c"].images == (tmp_path / "imagesTr/c00",)


@pytest.mark.parametrize(
    ("places", "part"),
    [([30.0, 38, 46, 62, 70, 78], "(8, 8, 16) mm apart"), ([30.0, 30, 38, 38, 46, 46], "(0, 0, 8) mm apart")],
)
def test_a_series_that_lacks_a_slice_or_holds_time_points_is_refused(places: list[float], part: str, tmp_path: Path) -> None:
    dicom(tmp_path, np.round(scan(1)[0]).astype(np.int16), "{}.dcm", places)
    with pytest.raises(BadInput) as caught:
        header_of(tmp_path)
    assert part in str(caught.value) and "complete the series" in str(caught.value)


def test_two_series_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in "56":
        dicom(tmp_path, np.round(scan(1)[0]).astype(np.int16), name + "{}.dcm", [30.0, 38], f"1.2.3.{name}")
    with pytest.raises(BadInput, match="holds 2 DICOM series; expected one; put each series into a folder of its own"):
        header_of(tmp_path)


def test_voxels_beside_a_header_are_part_of_the_data(tmp_path: Path) -> None:
    """Their size is what the header may claim, and other voxels are other data."""
    itk = pytest.importorskip("SimpleITK")
    for number in range(6):
        for home, array in zip(("imagesTr", "labelsTr"), scan(number), strict=True):
            (tmp_path / home).mkdir(exist_ok=True)
            image = itk.GetImageFromArray(array.T)
            image.SetSpacing((1.5, 1.5, 8.0))
            itk.WriteImage(image, str(tmp_path / home / f"c{number}.mhd"))
    before = Folder(tmp_path)
    known = before.content_hash()
    np.testing.assert_array_equal(before.read("c1", labels=True)[0].label, scan(1)[1][::-1, ::-1].T)
    assert not before.warnings and parts_of(tmp_path / "imagesTr/c1.mhd")[1].name == "c1.raw"
    voxels = tmp_path / "imagesTr/c1.raw"
    voxels.write_bytes(voxels.read_bytes()[::-1])
    assert Folder(tmp_path).content_hash() != known
    header = tmp_path / "imagesTr/c2.mhd"
    text = header.read_text()
    header.write_text(text.replace("c2.raw", "../../c2.raw"))
    with pytest.raises(BadInput, match="lies outside"):
        values_of(header)
    header.write_text(text.replace("14 12 6", "1400 1200 300"))
    with pytest.raises(BadInput, match=r"declares .* bytes and stores"):
        values_of(header)


def test_without_simpleitk_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / "x.mha").write_bytes(b"ObjectType = Image")
    with pytest.raises(BadInput, match=r"x.mha needs SimpleITK.*pip install SimpleITK, or convert"):
        header_of(tmp_path / "x.mha")


def mnms(root: Path) -> None:
    rows = ["External code,VendorName,Vendor,Centre,ED,ES"]
    parts = {
        "A1": "Training/Labeled",
        "A2": "Training/Labeled",
        "B1": "Training/Unlabeled",
        "C1": "Validation",
        "D1": "Testing",
    }
    for number, (code, part) in enumerate(parts.items()):
        frames = [scan(10 * number + frame, (1, 2, 3)) for frame in range(4)]
        save(root / part / code / f"{code}_sa.nii.gz", np.stack([image for image, _ in frames], -1))
        save(root / part / code / f"{code}_sa_gt.nii.gz", np.stack([mask for _, mask in frames], -1))
        rows.append(f"{code},Siemens,{'AB'[number % 2]},1,0,2")
    (root / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text("\n".join(rows))


def test_mnms_reads_two_frames_of_a_series(tmp_path: Path) -> None:
    mnms(tmp_path)
    dataset = MNMs(tmp_path)
    split = dataset.split
    assert (split.train, split.val, split.tests, split.unlabelled) == (("A1", "A2"), ("C1",), {"test": ("D1",)}, ("B1",))
    assert dataset.train_groups == {"A1": "A", "A2": "B"} and dataset.channels == 1
    for volume, frame in zip(dataset.read("A2", labels=True), (0, 2), strict=True):
        image, mask = scan(10 + frame, (1, 2, 3))
        np.testing.assert_array_equal(volume.label, mask.T)
        assert np.corrcoef(volume.image[0].ravel(), image.T.ravel())[0, 1] > 0.99
    assert [volume.name for volume in dataset.read("A2", labels=True)] == ["A2_ED", "A2_ES"]


def test_percentiles_may_be_those_of_the_dataset(tmp_path: Path) -> None:
    """A volume twice as bright stays so."""

    def brighter(path: Path, array: np.ndarray, number: int) -> None:
        save(path, array * (1 + number % 2))

    table(tmp_path, pairs(tmp_path, save_image=brighter))
    ratio = {}
    for stated in ("volume", "dataset"):
        (tmp_path / "dataset.yaml").write_text(f"percentiles: {stated}\n")
        means = [Folder(tmp_path).read(f"c{k:02}", labels=False)[0].image.mean() for k in (0, 1)]
        ratio[stated] = means[1] / means[0]
    assert ratio["volume"] < 1.3 and ratio["dataset"] > 1.7


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("modality: [CT, MR]\n", "2 channels; expected 1"),
        ("windows: [0, 1]\n", "windows; expected modality, window, percentiles"),
        ("window: [5, 1]\n", "[low, high]"),
        ("window: wide\n", "[low, high]"),
        ("percentiles: 5\n", "volume or dataset"),
        ("- CT\n", "list"),
        ("a: [\n", "no YAML"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(text: str, part: str, tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        Folder(tmp_path)
    assert part in str(caught.value) and "dataset.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("background: 0\na: 1\nb: 1\n", "value 1 belongs to"),
        ("a: -1\n", "from -1"),
        ("a: one\n", "a: one is no class"),
        ("- a\n", "no line such as liver: 1"),
        ("background: 0\n", "2 to 255 classes"),
    ],
)
def test_class_tables_that_cannot_be_meant_are_refused(text: str, part: str, tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        Folder(tmp_path)
    assert part in str(caught.value) and "classes.yaml" in str(caught.value)


def test_colours_keep_their_scale_and_rows_of_a_case_are_its_slices(tmp_path: Path) -> None:
    from PIL import Image

    rows = ["case,image,label,split"]
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(np.eye(5, 7, dtype=np.uint8)).save(tmp_path / f"{number}_m.png")
        rows.append(f"case{number // 2},{number}.png,{number}_m.png,{('train', 'val', 'test')[number // 2]}")
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    dataset = Images(tmp_path)
    (volume,) = dataset.read("case1", labels=True)
    expected = np.stack([np.asarray(Image.open(tmp_path / f"{k}.png")) for k in (2, 3)]).transpose(3, 0, 1, 2) / 255
    np.testing.assert_allclose(volume.image, expected, atol=1e-6)
    np.testing.assert_array_equal(volume.label, [np.eye(5, 7)] * 2)
    assert not volume.spacing_known and dataset.channels == 3


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (nnunet, ["--dataset nnunet reads it: 4 labelled training, 0 unlabelled, 1 validation and 1 test"]),
        (lambda r: described(r, pairs(r)), ["--dataset decathlon reads it"]),
        (lambda r: table(r, pairs(r)), ["--dataset folder reads it"]),
        (lambda r: (r / "ACDC").mkdir() or odd.acdc_download(r / "ACDC"), ["ACDC looks like a layout that is known"]),
        (odd.atria, ["--dataset la reads it: 3 labelled"]),
        (odd.pictures, ["--dataset images reads it"]),
        (lambda r: odd.acdc_h5(r), ["--dataset acdc reads it"]),
        (lambda r: (nnunet(r), (r / "labelsTr/c01.nii.gz").write_bytes(b"x")), ["--dataset nnunet reads it"]),
        (lambda r: (nnunet(r), (r / "dataset.json").write_text("{")), ["--dataset nnunet does not", "JSON"]),
        (
            lambda r: nnunet(r / "Dataset001_X") if (r / "Dataset001_X").mkdir() is None else None,
            ["12 .nii.gz", "Dataset001_X looks like"],
        ),
        (lambda r: None, ["no files", "cases.csv"]),
    ],
)
def test_suggest_names_the_dataset_or_what_is_missing(make, parts: list[str], tmp_path: Path) -> None:
    make(tmp_path)
    said = "\n".join(suggest(tmp_path))
    assert all(part in said for part in parts) and len(said.splitlines()) < 4, said
