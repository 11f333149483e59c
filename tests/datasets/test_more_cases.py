"""More of the kinds of ``test_cases``: each is read as what it is, or refused with a remedy that helps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from benchmark.ground.errors import BadInput
from datasets.prepared import Prepared
from datasets.preparing import open_dataset, prepare
from tests.datasets import odd_files as odd
from tests.datasets.odd_files import affine, described, nnunet, pairs, save, table
from tests.datasets.test_cases import Case, classes, has, quiet, read, says, whole

RED, GREEN = (255, 0, 0), (0, 255, 0)


def saved(
    where: Callable[[], np.ndarray] = affine, change: Callable[[np.ndarray], np.ndarray] = np.asarray, **header: Any
) -> odd.Save:
    return lambda path, array, number: save(path, change(array), where(), **header)


def forms(qform: np.ndarray) -> odd.Save:
    """A header whose qform is another than its sform."""

    def write(path: Path, array: np.ndarray, number: int) -> None:
        image = nibabel.Nifti1Image(array, affine())
        image.set_qform(qform, 1)
        image.set_sform(affine(), 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)

    return write


def rewritten(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def listed(root: Path, **changes: Any) -> None:
    described(root, pairs(root), **changes)


# What macOS, Windows and spreadsheets leave.


def from_a_mac(root: Path) -> None:
    pairs(root)
    for file in list(root.glob("*/*.nii.gz")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    for home in (root, root / "imagesTr", root / "labelsTr"):
        (home / ".DS_Store").write_bytes(b"\0")
    (root / "imagesTr/__MACOSX").mkdir()
    (root / "imagesTs").mkdir()
    (root / "imagesTs/.DS_Store").write_bytes(b"\0")


def from_windows(root: Path) -> None:
    table(root, pairs(root))
    rewritten(
        root / "cases.csv", lambda text: b"\xef\xbb\xbf" + text.replace(b"/", b"\\").replace(b"\n", b"\r\n") + b",,,\r\n,,,\r\n"
    )
    (root / "classes.txt").write_bytes(b"\xef\xbb\xbfbackground\r\na\r\nb\r\n")


def described_on_windows(root: Path) -> None:
    listed(root)
    rewritten(
        root / "dataset.json",
        lambda text: b"\xef\xbb\xbf" + text.replace(b"./imagesTr/", b".\\\\imagesTr\\\\").replace(b", ", b",\r\n"),
    )


def a_table_of_the_web(root: Path) -> None:
    table(root, pairs(root), use=lambda use: {"train": "training", "val": "Validation", "test": "testing"}[use])


# Lists and class tables.


def an_unlabelled_entry(root: Path) -> None:
    names = pairs(root, count=7)
    described(root, names[:6])
    about = json.loads((root / "dataset.json").read_text())
    about["training"].append({"image": names[6][0]})
    about["test"] = ["./imagesTs/x.nii.gz"]
    (root / "dataset.json").write_text(json.dumps(about))


def values_first(root: Path) -> None:
    pairs(root)
    (root / "classes.txt").write_text("0: background\n1: a\n2 b\n")


def undeclared(root: Path) -> None:
    pairs(root)
    (root / "classes.txt").write_text("background\na\n")


def no_blank(root: Path) -> None:
    pairs(root)
    (root / "classes.yaml").write_text("background:0\na:1\n")


# Names and places.


def lits(root: Path) -> None:
    pairs(root, "imagesTr/volume-{}.nii", "labelsTr/segmentation-{}.nii")


def brats(root: Path) -> None:
    """BraTS 2020: one mask has a name of its own, and something else lies beside the cases."""
    for number in range(6):
        array, mask = odd.scan(number)
        home = root / f"Training_{number:03}"
        for name in ("flair", "t1"):
            save(home / f"{home.name}_{name}.nii", array)
        save(home / ("W39_1998.09.19_Segm.nii" if number == 3 else f"{home.name}_seg.nii"), mask)
    (root / "papers").mkdir()
    (root / "papers/overview.pdf").write_bytes(b"%PDF")


def amos(root: Path) -> None:
    names = pairs(root, "imagesTr/amos_{:04}.nii.gz", "labelsTr/amos_{:04}.nii.gz", count=8)
    for number, (image, label) in enumerate(names[6:]):
        for name, to in ((image, "imagesVa"), (label, "labelsVa")):
            (root / to).mkdir(exist_ok=True)
            (root / name).rename(root / to / f"amos_{number + 6:04}.nii.gz")
    validation = [{"image": f"./imagesVa/amos_{k:04}.nii.gz", "label": f"./labelsVa/amos_{k:04}.nii.gz"} for k in (6, 7)]
    described(root, names[:6], validation=validation, test=[{"image": "./imagesTs/amos_0009.nii.gz"}], modality={"0": "CT"})


def without_masks(root: Path) -> None:
    pairs(root)
    shutil.rmtree(root / "labelsTr")


def analyze(root: Path) -> None:
    for number in range(6):
        for home, array in zip(("imagesTr", "labelsTr"), odd.scan(number), strict=True):
            (root / home).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Pair(array, affine()), root / home / f"c{number}.hdr")


def one_is_strange(root: Path) -> None:
    pairs(root)
    (root / "imagesTr/c06.mgz").write_bytes(b"x")
    (root / "imagesVa").mkdir()
    save(root / "imagesVa/c08.nii.gz", odd.scan(8)[0])


# Pictures.


def pictures(
    root: Path,
    image: Callable = Image.fromarray,
    mask: Callable = Image.fromarray,
    image_end: str = ".png",
    mask_end: str = ".png",
) -> None:
    """Like ``odd_files.pictures`` with two classes; ``image`` and ``mask`` take pixels and a number to a Pillow image."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        array, label = odd.scan(number, (1, 2), (14, 12, 1))
        for home, pixels, make, end in (
            ("images", array[..., 0].clip(0, 255).astype(np.uint8).T, image, image_end),
            ("masks", label[..., 0].T, mask, mask_end),
        ):
            found = make(pixels) if make is Image.fromarray else make(pixels, number)
            found.save(root / home / f"p{number}{end}")


def in_colour(pixels: np.ndarray, number: int) -> Image.Image:
    return Image.fromarray(np.array([(0, 0, 0), RED, GREEN], np.uint8)[pixels])


def named_colours(root: Path) -> None:
    pictures(root, mask=in_colour)
    (root / "classes.yaml").write_text('b: "#00ff00"\na: "#FF0000"\n')


def with_palette(own: bool) -> Callable:
    """Masks with one palette, or each with the order of its own."""

    def make(pixels: np.ndarray, number: int) -> Image.Image:
        order = [0, 2, 1] if own and number % 2 else [0, 1, 2]
        found = Image.fromarray(np.array(order, np.uint8)[pixels])
        found.putpalette(np.array([(0, 0, 0), RED, GREEN], np.uint8)[order].tobytes())
        return found

    return make


def sometimes_grey(pixels: np.ndarray, number: int) -> Image.Image:
    return Image.fromarray(pixels if number % 2 else np.stack([pixels, pixels // 2, pixels // 3], -1))


def in_parts(root: Path) -> None:
    """Files are numbered anew in each part, and folders have capitals."""
    for darker, part in enumerate(("Train", "Valid", "Test"), start=1):
        pictures(root / part)
        (root / part / "images").rename(root / part / "Images")
        for file in (root / part / "Images").iterdir():  # no picture may be in two parts
            Image.fromarray(np.asarray(Image.open(file)) // darker).save(file)


def stacks(root: Path) -> None:
    """Pages of a TIFF are slices."""
    for number in range(6):
        for home, array in zip(("images", "masks"), odd.scan(number), strict=True):
            (root / home).mkdir(exist_ok=True)
            pages = [Image.fromarray(page) for page in array.clip(0, 255).astype(np.uint8).T]
            pages[0].save(root / home / f"p{number}.tif", save_all=True, append_images=pages[1:])


def colour_in_one_file(root: Path) -> None:
    """nnU-Net's colour pictures: three channels in one file _0000."""
    pictures(root, image=lambda pixels, number: Image.fromarray(np.stack([pixels, pixels // 2, pixels // 3], -1)))
    for file in (root / "images").iterdir():
        file.rename(file.with_name(f"{file.stem}_0000.png"))
    (root / "images").rename(root / "imagesTr")
    (root / "masks").rename(root / "labelsTr")
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "a": 1, "b": 2},
        "file_ending": ".png",
    }
    (root / "dataset.json").write_text(json.dumps(about))


def picture_masks(channels: int = 1, names: tuple[str, ...] = ()) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        assert dataset.channels == channels and (not names or dataset.classes == ("background", *names))
        assert len(whole(dataset)) == 8
        for name, volume in whole(dataset).items():
            array, mask = odd.scan(int(name[1:]), (1, 2), (14, 12, 1))
            np.testing.assert_array_equal(volume.label, mask.T)
            assert np.corrcoef(volume.image[0].ravel(), array.T.ravel())[0, 1] > 0.99

    return check


def numbered_anew(dataset: Prepared) -> None:
    assert [len(dataset.split.train), len(dataset.split.val), len(dataset.split.tests["test"])] == [8, 8, 8]
    assert "test_p0" in dataset.split.tests["test"] and not dataset.warnings


# Oblique stacks.


def short_axes(root: Path) -> None:
    """Short axes of hearts: which axis of the body is nearest to the stack, and its end, differs; base to apex does not."""
    for number in range(6):
        array, mask = odd.scan(number)
        array = array + 100 * np.arange(array.shape[2], dtype=np.float32)  # brighter towards one end
        rng = np.random.default_rng(number)
        normal = np.array([0.58, 0.57, 0.58]) + rng.normal(0, 0.08, 3)
        normal /= np.linalg.norm(normal)
        first = np.cross(normal, [0.1, 0.2, 1.0])
        first /= np.linalg.norm(first)
        where = np.eye(4)
        where[:3, :3] = np.stack([first, np.cross(normal, first), normal], 1) * (1.5, 1.5, 8.0)
        if number % 2:  # stored from the other end
            array, mask = array[..., ::-1], mask[..., ::-1]
            where[:3, 2] *= -1
        for home, part in (("imagesTr", array), ("labelsTr", mask)):
            save(root / home / f"c{number:02}.nii.gz", part, where)


def one_way(dataset: Prepared) -> None:
    volumes = whole(dataset).values()
    assert all(volume.spacing[0] == pytest.approx(8.0) and volume.image.shape[1] == 6 for volume in volumes)
    ends = {bool(volume.image[0, -1].mean() > volume.image[0, 0].mean()) for volume in volumes}
    assert len(ends) == 1, "some stacks run from base to apex and others from apex to base"
    assert {volume.image.shape[2:] for volume in volumes} in ({(14, 12)}, {(12, 14)})


def mnms2(root: Path) -> None:
    rows = ["SUBJECT_CODE;DISEASE;VENDOR;SCANNER;FIELD"]
    for number in (1, 2, 170, 250):
        home = root / f"dataset/{number:03}"
        for frame in ("ED", "ES"):
            array, mask = odd.scan(10 * number + (frame == "ES"), (1, 2, 3))
            save(home / f"{home.name}_SA_{frame}.nii.gz", array)
            save(home / f"{home.name}_SA_{frame}_gt.nii.gz", mask)
            save(home / f"{home.name}_LA_{frame}.nii.gz", array[..., :1])
        rows.append(f"{number};NOR;{'GE' if number % 2 else 'SIEMENS'};x;1.5")
    (root / "dataset/.DS_Store").write_bytes(b"\0")
    (root / "dataset_information.csv").write_text("\r\n".join(rows))


def hearts(dataset: Prepared) -> None:
    assert (dataset.split.train, dataset.split.val, dataset.split.tests) == (("001", "002"), ("170",), {"test": ("250",)})
    assert dataset.train_groups == {"001": "GE", "002": "SIEMENS"} and not dataset.warnings
    for name, volume in whole(dataset).items():
        number = 10 * int(name[:3]) + name.endswith("ES")
        np.testing.assert_array_equal(volume.label, odd.scan(number, (1, 2, 3))[1].T)


def by_colour(dataset: Prepared) -> None:
    assert dataset.classes == ("background", "b", "a") and not dataset.warnings
    for name, volume in whole(dataset).items():
        mask = odd.scan(int(name[1:]), (1, 2), (14, 12, 1))[1].T
        np.testing.assert_array_equal(volume.label, np.array([0, 2, 1])[mask])


def images(
    change: Callable[[np.ndarray], np.ndarray] = np.asarray, mode: str | None = None, end: str = ".png"
) -> Callable[[Path], None]:
    def make(pixels: np.ndarray, number: int) -> Image.Image:
        found = Image.fromarray(change(pixels))
        return found.convert(mode) if mode else found

    return lambda root: pictures(root, make, image_end=end)


def masks(make: Callable, end: str = ".png") -> Callable[[Path], None]:
    return lambda root: pictures(root, mask=make, mask_end=end)


def three(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, -1)


def with_transparency(pixels: np.ndarray, number: int) -> Image.Image:
    return Image.fromarray(np.stack([pixels, pixels, pixels, 255 - pixels], -1))


def cut_short(pixels: np.ndarray, number: int) -> Image.Image:
    return Image.fromarray(pixels if number else pixels[:5])


def labels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda root: pairs(root, save_label=saved(change=change))


def one_hot(mask: np.ndarray) -> np.ndarray:
    return np.stack([mask == 1, mask == 2], -1).astype(np.uint8)


def counted(mask: np.ndarray) -> np.ndarray:
    return np.arange(mask.size, dtype=np.int16).reshape(mask.shape)


def unlabelled_text(root: Path) -> None:
    listed(root)
    rewritten(root / "dataset.json", lambda text: text.replace(b'"labels"', b'"x"'))


def a_rare_class(root: Path) -> None:
    """Only the first case of the table, which trains, shows class 2, and only the test case class 3."""

    def rare(path: Path, array: np.ndarray, number: int) -> None:
        save(path, np.where(array == 2, 3 * (number == 5) or 2 * (number == 0), array).astype(np.uint8))

    table(root, pairs(root, save_label=rare))


def scored(dataset: Prepared) -> None:
    says("no training case shows class 3: left out of every score")(dataset)
    says("no validation case shows class 2, class 3", "on the validation cases")(dataset)
    assert dataset.scored(dataset.split.tests["test"]) == (1,)


def int64(root: Path) -> None:
    """As NumPy's own integers are saved."""
    pairs(root)
    for number in range(6):
        mask = odd.scan(number)[1].astype(np.int64)
        nibabel.save(nibabel.Nifti1Image(mask, affine(), dtype=np.int64), root / f"labelsTr/c{number:02}.nii.gz")


MIRRORED = affine() * np.diag([-1, 1, 1, 1.0])
ELSEWHERE = affine() + np.array([*[[0, 0, 0, 90]] * 3, [0] * 4])
NO_CODES = saved(sform_code=0, qform_code=0)
TWO = ("class 1", "class 2")

READ: dict[str, Case] = {
    "float64 masks": ("folder", labels(np.float64), read(quiet)),
    "int64 masks": ("folder", int64, read(quiet)),
    "values of FreeSurfer": ("folder", labels(lambda a: a.astype(np.int32) * 1035), says("0, 1035, 2070")),
    "qform from right to left": (
        "folder",
        lambda r: pairs(r, save_image=forms(MIRRORED)),
        read(says("qform LAS, sform RAS", "6 of 6", "c00")),
    ),
    "qform elsewhere": ("folder", lambda r: pairs(r, save_image=forms(ELSEWHERE)), read(says("origin (70, 95, 120)"))),
    "qform of another spacing": (
        "folder",
        lambda r: pairs(r, save_image=forms(affine((1.5, 1.5, 5.0)))),
        read(says("pixdim (1.5, 1.5, 5), affine (1.5, 1.5, 8)")),
    ),
    "no codes": ("folder", lambda r: pairs(r, save_image=NO_CODES, save_label=NO_CODES), read(quiet)),
    "from a Mac": ("folder", from_a_mac, read(has(), quiet)),
    "from Windows": ("folder", from_windows, read(has(), quiet)),
    "dataset.json of Windows": ("decathlon", described_on_windows, read(has(), quiet)),
    "words for splits": ("folder", a_table_of_the_web, read(has(), quiet)),
    "unlabelled training entry": (
        "decathlon",
        an_unlabelled_entry,
        lambda d: (has(blank=1)(d), says("1 of 7 training cases (c06)")(d)),
    ),
    "empty list": ("nnunet", lambda r: listed(r, training=[]), read(has(), quiet)),
    "nnunet without test masks": (
        "nnunet",
        lambda r: (nnunet(r), save(r / "imagesTs/c09_0000.nii.gz", odd.scan(9)[0])),
        read(has(), says("imagesTs has no labelsTs")),
    ),
    "labels as a list": ("decathlon", lambda r: listed(r, labels=["background", "a", "b"]), read(quiet)),
    "labels called by number": ("nnunet", lambda r: nnunet(r, labels={"0": 0, "1": 1, "2": 2}), read(quiet)),
    "values before names": ("folder", values_first, classes((1, 2), ("a", "b"))),
    "LiTS": ("folder", lits, read(says("volume-0 with segmentation-0"))),
    "BraTS": ("folder", brats, read(has(2), says("1 of 7 folders (papers)"))),
    "AMOS": ("decathlon", amos, read(has(train=6, val=0, test=2), says("2 validation cases"))),
    "one is of no format": (
        "folder",
        one_is_strange,
        read(says("1 of 7 entries (c06.mgz) of imagesTr"), says("imagesVa is not used")),
    ),
    "coloured masks": ("images", masks(in_colour), says("0, #00ff00, #ff0000", 'liver: "#ff0000"')),
    "colours named": ("images", named_colours, by_colour),
    "one palette": ("images", masks(with_palette(False)), picture_masks(names=TWO)),
    "grey among colours": (
        "images",
        lambda r: pictures(r, sometimes_grey),
        lambda d: (picture_masks(3)(d), says("4 of 8", "grey")(d)),
    ),
    "grey palette": ("images", images(mode="P"), picture_masks(1, TWO)),
    "CMYK": ("images", images(three, "CMYK", ".tif"), picture_masks(3)),
    "16 bits": ("images", images(lambda a: a.astype(np.uint16) * 200), picture_masks()),
    "floats": ("images", images(lambda a: a.astype(np.float32) / 7, end=".tif"), picture_masks()),
    "masks with transparency": ("images", masks(with_transparency), picture_masks()),
    "numbered anew in each part": ("images", in_parts, numbered_anew),
    "pages": ("images", stacks, read(has())),
    "colour in one file": ("nnunet", colour_in_one_file, lambda d: (picture_masks(3)(d), quiet(d))),
    "a class in few cases": ("folder", a_rare_class, scored),
    "short axes": ("folder", short_axes, lambda d: (one_way(d), says("oblique", "all volumes are turned to the axes")(d))),
    "M&Ms-2": ("mnms2", mnms2, hearts),
}

REFUSED: dict[str, tuple[str, Callable[[Path], object], list[str]]] = {
    "mask without a header": (
        "folder",
        lambda r: pairs(r, save_label=saved(lambda: np.eye(4))),
        ["spacing (1, 1, 1) and (1.5, 1.5, 8) mm", "copy the image's header"],
    ),
    "mask with axes in another order": (
        "folder",
        labels(np.transpose),
        ["(6, 12, 14) voxels and the image (14, 12, 6)", "resample"],
    ),
    "a channel a class": ("folder", labels(one_hot), ["2 channels", "not a channel a class"]),
    "minus one": ("folder", labels(lambda a: a.astype(np.int16) - 1), ["-1, 0, 1", "ignore: -1"]),
    "empty masks": ("folder", labels(lambda a: a * 0), ["0 alone", "masks"]),
    "images as masks": ("folder", labels(counted), ["0, 1, 2", "(1008 values)", "at most 254 classes"]),
    "NaN outside of the body": (
        "folder",
        lambda r: pairs(r, save_image=saved(change=lambda a: np.where(a < 120, np.nan, a))),
        ["NaN", "give them a number"],
    ),
    "undeclared value": ("folder", undeclared, ["holds 2", "expected 0, 1;", "classes.yaml"]),
    "class table without blanks": ("folder", no_blank, ["no line such as liver: 1", "a colon, a blank"]),
    "no labels in dataset.json": ("decathlon", unlabelled_text, ["has no labels"]),
    "no masks at all": ("folder", without_masks, ["0 labelled training", "no folder labelsTr beside imagesTr"]),
    "pairs of header and image": ("folder", analyze, ["no image that can be read (6 .hdr, 6 .img)", ".nii.gz", "convert"]),
    "nested folders": (
        "folder",
        lambda r: pairs(r, "imagesTr/s{0}/c{0:02}.nii.gz", "labelsTr/s{0}/c{0:02}.nii.gz"),
        ["no image that can be read (6 folders)"],
    ),
    "palettes of their own": (
        "images",
        masks(with_palette(True)),
        ["number 1", "#00ff00", "#ff0000", "save the masks as RGB"],
    ),
    "JPEG masks": ("images", lambda r: pictures(r, mask_end=".jpg"), ["JPEG", "round its values", "PNG"]),
    "masks of another size": ("images", masks(cut_short), ["(5, 14) pixels"]),
}


@pytest.mark.parametrize(("name", "make", "check"), READ.values(), ids=READ)
def test_it_is_read(name: str, make: Callable, check: Callable, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    check(prepare(name, tmp_path / "data", tmp_path / "cache"))


@pytest.mark.parametrize(("name", "make", "parts"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_a_remedy(name: str, make: Callable, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(BadInput) as caught:
        prepare(name, tmp_path / "data", tmp_path / "cache")
    said = str(caught.value)
    assert all(part in said for part in parts) and "expected" in said and said.count("\n") == 0, said


def test_who_names_a_file_is_told_to_name_its_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(
        BadInput, match=r"dataset.json is a file and no prepared dataset; expected one or a folder; name the folder"
    ):
        open_dataset("nnunet", tmp_path / "dataset.json")
