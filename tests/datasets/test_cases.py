"""Data as people really have them: read as what it is, or told in one sentence. All files are made here."""

from __future__ import annotations

import gzip
import re
import struct
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmark.commands import main
from benchmark.ground.errors import BadInput
from datasets.checks import uses
from datasets.contents import hash_of
from datasets.dataset import IGNORE, Volume
from datasets.prepared import Prepared
from datasets.preparing import open_dataset, prepare
from tests.datasets import odd_files as odd
from tests.datasets.odd_files import affine, described, nnunet, pairs, save, table, unpacked


def whole(dataset: Prepared) -> dict[str, Volume]:
    return {volume.name: volume for case in uses(dataset) for volume in dataset.read(case, labels=True)}


def same_masks(dataset: Prepared, values: tuple[int, ...] = (1, 2), order: tuple[int, ...] = (2, 1, 0)) -> None:
    """Each case's mask is the one that was written under its number, values in order of class, axes as (z, y, x)."""
    found = whole(dataset)
    assert len(found) >= 6
    for name, volume in found.items():
        _, mask = odd.scan(int(re.findall(r"\d+", name)[0]), values)
        expected = np.searchsorted([0, *values], mask).transpose(order)
        assert volume.label is not None
        np.testing.assert_array_equal(volume.label, expected, err_msg=name)


def told(dataset: Prepared, *parts: str) -> None:
    assert any(all(part in warning for part in parts) for warning in dataset.warnings), dataset.warnings


def quiet(dataset: Prepared) -> None:
    assert not dataset.warnings, dataset.warnings


def read(*then: Callable[[Prepared], None]) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        same_masks(dataset)
        for each in then:
            each(dataset)

    return check


# What is written, one function a case.


def axis_mix(root: Path) -> None:
    widths = {1: (0.98, 0.98, 0.7), 2: (0.78, 0.78, 0.8), 3: (0.98, 0.98, 0.7)}

    def mixed(path: Path, array: np.ndarray, number: int) -> None:
        save(path, array, affine(widths.get(number, (0.7, 0.7, 2.5))))

    described(root, pairs(root, save_image=mixed, save_label=mixed))


def pixdim(root: Path) -> None:
    def disagreeing(path: Path, array: np.ndarray, number: int) -> None:
        where = np.diag([1.0, 1, 1, 1]) if number % 2 else np.diag([-1.0, -1, 1, 1])
        save(path, array if number % 2 else array[::-1, ::-1], where, pixdim=(0.87, 0.87, 5.0), qform_code=0)

    pairs(root, save_image=disagreeing, save_label=disagreeing)


def trailing_axis(root: Path) -> None:
    def one(path: Path, array: np.ndarray, number: int) -> None:
        save(path, array[..., None])

    described(root, pairs(root, save_image=one, save_label=one))


def turned(to: str) -> odd.Save:
    def write(path: Path, array: np.ndarray, number: int) -> None:
        image = nibabel.Nifti1Image(array, affine())
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(to)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image.as_reoriented(turn), path)

    return write


def moved(by: tuple[float, float, float]) -> odd.Save:
    def write(path: Path, array: np.ndarray, number: int) -> None:
        where = affine()
        where[:3, 3] += by
        save(path, array, where)

    return write


def nearly_whole(path: Path, array: np.ndarray, number: int) -> None:
    save(path, (array + 1e-5 * np.sign(array)).astype(np.float32))


def a_file_a_channel(root: Path) -> None:
    for number in range(6):
        array, mask = odd.scan(number)
        for name in ("flair", "t1", "t2"):
            save(root / f"S{number}/S{number}_{name}.nii.gz", array)
        save(root / f"S{number}/S{number}_seg.nii.gz", mask)


def channels_in_a_table(root: Path) -> None:
    a_file_a_channel(root)
    rows = [
        f"c{i},S{i}/S{i}_t1.nii.gz,S{i}/S{i}_t2.nii.gz|S{i}/S{i}_flair.nii.gz,S{i}/S{i}_seg.nii.gz,{odd.USES[i]}"
        for i in range(6)
    ]
    (root / "cases.csv").write_text("\n".join(["case,image t1,images,label,split", *rows]))


def btcv(root: Path) -> None:
    names = pairs(root, "imagesTr/img{:04}.nii.gz", "labelsTr/label{:04}.nii.gz")
    described(root, names[:4], validation=[{"image": image, "label": label} for image, label in names[4:]])


def unmatched(root: Path) -> None:
    pairs(root, count=8)
    for number in (1, 2):
        unpacked(root / f"labelsTr/c0{number}.nii.gz", root / f"labelsTr/c0{number}.nii")
    for folder in ("imagesTr", "labelsTr"):
        (root / folder / "c04.nii.gz").rename(root / folder / "c04.NII.GZ")
    (root / "labelsTr/c05.nii.gz").rename(root / "labelsTr/c05_seg.nii.gz")
    (root / "labelsTr/c06.nii.gz").unlink()
    (root / "labelsTr/c07.nii.gz").rename(root / "labelsTr/other09.nii.gz")


def kits(root: Path) -> None:
    described(root, pairs(root, "imagesTr/case_{:05}/imaging.nii.gz", "imagesTr/case_{:05}/segmentation.nii.gz"))


def absolute(root: Path) -> None:
    table(root, [(str((root / image).resolve()), str((root / label).resolve())) for image, label in pairs(root)])


def without_foreground(path: Path, array: np.ndarray, number: int) -> None:
    save(path, array * (number > 0))


def named_nii(root: Path) -> None:
    for names in pairs(root):
        for name in names:
            (root / name).rename(root / name.removesuffix(".gz"))


def negative(path: Path, array: np.ndarray, number: int) -> None:
    save(path, array)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[84:88] = struct.pack("<f", -1.5)
    path.write_bytes(gzip.compress(bytes(content)))


def folder_a_file(root: Path) -> None:
    odd.acdc_download(root)
    for file in list(root.glob("training/patient*/*.nii.gz")):
        home = file.with_suffix("")
        content = gzip.decompress(file.read_bytes())
        file.unlink()
        home.mkdir()
        (home / home.name).write_bytes(content)


# What each must lead to.


def cut_at(axis: str, spacing: tuple[float, float, float] | None = None) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        assert f"slices along {axis}" in dataset.facts[0], dataset.facts
        depth = {"x": odd.SHAPE[0], "y": odd.SHAPE[1], "z": odd.SHAPE[2]}[axis]
        volumes = whole(dataset).values()
        assert {volume.image.shape[1] for volume in volumes} == {depth}
        assert spacing is None or {volume.spacing for volume in volumes} == {spacing}

    return check


def says(*parts: str) -> Callable[[Prepared], None]:
    return lambda dataset: told(dataset, *parts)


def shows(fact: str) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        assert fact in dataset.facts, dataset.facts

    return check


def classes(values: tuple[int, ...], names: tuple[str, ...], *parts: str) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        assert dataset.classes == ("background", *names)
        same_masks(dataset, values)
        if parts:
            told(dataset, *parts)
        shown = set().union(*(np.unique(volume.label).tolist() for volume in whole(dataset).values()))
        assert shown == set(range(len(names) + 1)), "a class that no file has"

    return check


def has(channels: int = 1, train: int = 4, val: int = 1, test: int = 1, blank: int = 0) -> Callable[[Prepared], None]:
    def check(dataset: Prepared) -> None:
        split = dataset.split
        counts = (
            dataset.channels,
            len(split.train),
            len(split.val),
            sum(map(len, split.tests.values())),
            len(split.unlabelled),
        )
        assert counts == (channels, train, val, test, blank)

    return check


def opposite_channels(dataset: Prepared) -> None:
    """The second channel falls where the first rises: neither was read twice."""
    for volume in whole(dataset).values():
        assert np.corrcoef(volume.image[0].ravel(), volume.image[1].ravel())[0, 1] < -0.99


def published(dataset: Prepared) -> None:
    assert sorted(dataset.split.train) == [f"img000{k}" for k in range(4)]
    assert dataset.split.tests == {"test": ("img0004", "img0005")} and not dataset.split.val


def some_masks_lost(dataset: Prepared) -> None:
    assert set(dataset.split.unlabelled) == {"c06", "c07"}
    for name, volume in whole(dataset).items():
        if volume.label is not None:
            np.testing.assert_array_equal(volume.label, odd.scan(int(name[1:]))[1].T)


def acdc_masks(dataset: Prepared) -> None:
    for name, volume in whole(dataset).items():
        patient, frame = map(int, re.findall(r"\d+", name))
        np.testing.assert_array_equal(volume.label, odd.scan(patient * 10 + frame, (1, 2, 3))[1].T)
    groups = {"patient099": "right ventricle", "patient038": "hypertrophic"}
    assert groups.items() <= dataset.train_groups.items()


def atrium_masks(dataset: Prepared) -> None:
    for name, volume in whole(dataset).items():
        np.testing.assert_array_equal(volume.label, odd.scan(int(name[1:]), (1,))[1].T)
        assert volume.image.shape[1:] == (6, 12, 14) and not volume.spacing_known
        assert volume.label is not None
        assert volume.image[0][volume.label > 0].mean() > volume.image[0][volume.label == 0].mean() + 0.3


def two_tests(dataset: Prepared) -> None:
    assert dataset.split.tests == {"test": ("case0001", "case0002")}


Case = tuple[str, Callable[[Path], object], Callable[[Prepared], object]]

READ: dict[str, Case] = {
    "axis_mix": ("folder", axis_mix, read(cut_at("z"), says("spacing along z", "3.6"))),
    "axis_mix, decathlon": ("decathlon", axis_mix, read(cut_at("z"), says("spacing along z", "3.6"))),
    "pixdim": ("folder", pixdim, read(cut_at("z", (1, 1, 1)), says("(0.87, 0.87, 5)", "(1, 1, 1)", "6 of 6"))),
    "trailing_axis": ("folder", trailing_axis, read(quiet)),
    "trailing_axis, decathlon": ("decathlon", trailing_axis, read(quiet)),
    "label_lps": ("folder", lambda r: described(r, pairs(r, save_label=turned("LPS"))), read(quiet)),
    "label_lps, decathlon": ("decathlon", lambda r: described(r, pairs(r, save_label=turned("LPS"))), read(quiet)),
    "labels_gap": (
        "folder",
        lambda r: pairs(r, values=(1, 2, 4)),
        classes((1, 2, 4), ("class 1", "class 2", "class 4"), "0, 1, 2, 4"),
    ),
    "labels_sparse": (
        "folder",
        lambda r: pairs(r, values=(63, 252)),
        classes((63, 252), ("class 63", "class 252"), "0, 63, 252"),
    ),
    "labels_255": ("folder", lambda r: pairs(r, values=(255,)), classes((255,), ("class 255",), "0, 255", "ignore")),
    "labels_nearly_whole": ("folder", lambda r: pairs(r, save_label=nearly_whole), read(quiet)),
    "nnunet_v2": ("nnunet", nnunet, read(has(), quiet)),
    "nnunet_v2, decathlon": ("decathlon", nnunet, read(has(), quiet)),
    "nnunet_v2, folder": ("folder", nnunet, read(has(), quiet)),
    "nnunet_two_channels": ("folder", lambda r: nnunet(r, 2), read(has(2), opposite_channels, quiet)),
    "a_file_a_channel": ("folder", a_file_a_channel, read(has(3), shows("channels: flair, t1, t2"), quiet)),
    "a_file_a_channel, cases.csv": ("folder", channels_in_a_table, read(has(3), quiet)),
    "btcv_names": ("decathlon", btcv, read(published, says("2 validation cases"))),
    "btcv_names, folder": ("folder", lambda r: pairs(r, "imagesTr/img{:04}.nii.gz", "labelsTr/label{:04}.nii.gz"), read(has())),
    "unmatched": (
        "folder",
        unmatched,
        lambda d: (some_masks_lost(d), told(d, "2 of 8", "c06, c07", "unlabelled"), told(d, "other09"), told(d, "c05")),
    ),
    "modality_0000": ("decathlon", lambda r: described(r, pairs(r), modality={"0000": "FLAIR"}), read(quiet)),
    "kits_names": ("decathlon", kits, read(has(), quiet)),
    "table_blanks": ("folder", lambda r: table(r, pairs(r), use=lambda u: f"{u} "), read(has(), quiet)),
    "table_capitals": ("folder", lambda r: table(r, pairs(r), "Case, Image, Label, Split", str.capitalize), read(has(), quiet)),
    "table_absolute": ("folder", absolute, read(has(), quiet)),
    "empty_labelled_case": (
        "folder",
        lambda r: table(r, pairs(r, save_label=without_foreground)),
        says("with 1 labelled case", "draw 0", "c00", "class 1", "class 2"),
    ),
    "gzip_named_nii": ("folder", named_nii, read(quiet)),
    "negative_pixdim": ("folder", lambda r: pairs(r, save_image=negative, save_label=negative), read(says("-1.5"))),
    "acdc_no_test_masks": (
        "acdc",
        lambda r: odd.acdc_download(r, test_masks=False),
        lambda d: (acdc_masks(d), told(d, "patient101", "no second test set")),
    ),
    "acdc_no_group": ("acdc", lambda r: odd.acdc_download(r, group=False), acdc_masks),
    "acdc_folder_a_file": ("acdc", folder_a_file, acdc_masks),
    "slices_from_zero": ("acdc", lambda r: odd.acdc_h5(r, first=0), acdc_masks),
    "slices_blank_ends": ("acdc", lambda r: odd.acdc_h5(r, end=" \n"), acdc_masks),
    "slices_leading_axis": ("acdc", lambda r: odd.acdc_h5(r, axis=True, frames=(1, 2)), acdc_masks),
    "synapse_names": ("synapse", lambda r: odd.synapse(r, test="case{:04}.h5"), lambda d: (two_tests(d), quiet(d))),
    "left_atrium": ("la", odd.atria, atrium_masks),
}

REFUSED: dict[str, tuple[str, Callable[[Path], object], list[str]]] = {
    "label_origin": ("folder", lambda r: pairs(r, save_label=moved((10, 12, -5))), ["shape equal", "(10, 12, -5) mm"]),
}

# More of the same kinds.


def sagittal(root: Path) -> None:
    def thick_x(path: Path, array: np.ndarray, number: int) -> None:
        save(path, array, affine((4.0, 1.0, 1.0) if number else (1.0, 1.0, 3.0)))

    pairs(root, save_image=thick_x, save_label=thick_x)


def in_units(code: int, factor: float) -> odd.Save:
    def write(path: Path, array: np.ndarray, number: int) -> None:
        where = affine() / factor
        where[3, 3] = 1
        save(path, array, where, xyzt_units=code)

    return write


def decomposed(root: Path) -> None:
    names = pairs(root, "imagesTr/é{:02}.nii.gz", "labelsTr/é{:02}.nii.gz")
    for _, label in names:
        (root / label).rename(root / unicodedata.normalize("NFD", label))


def nnunet_v1(root: Path) -> None:
    nnunet(root, 2)
    names = [(f"imagesTr/c{i:02}.nii.gz", f"labelsTr/c{i:02}.nii.gz") for i in range(6)]
    described(root, names, modality={"0": "T1", "1": "T2"})


def with_tests(root: Path) -> None:
    nnunet(root)
    for number in (7, 8):
        save(root / f"imagesTs/c{number:02}_0000.nii.gz", odd.scan(number)[0])
        save(root / f"labelsTs/c{number:02}.nii.gz", odd.scan(number)[1])


def ignored(root: Path) -> None:
    nnunet(root, labels={"background": 0, "a": 1, "ignore": 2})


def merged(root: Path) -> None:
    pairs(root, values=(1, 2, 4))
    (root / "classes.yaml").write_text("background: 0\ncore: [1, 4]\noedema: 2\n")


def merged_masks(dataset: Prepared) -> None:
    assert dataset.classes == ("background", "core", "oedema")
    for name, volume in whole(dataset).items():
        mask = odd.scan(int(name[1:]), (1, 2, 4))[1].T
        np.testing.assert_array_equal(volume.label, np.choose(mask, [0, 1, 2, 0, 1]))


def ignored_masks(dataset: Prepared) -> None:
    assert dataset.classes == ("background", "a")
    for name, volume in whole(dataset).items():
        np.testing.assert_array_equal(volume.label, np.choose(odd.scan(int(name[1:]))[1].T, [0, 1, IGNORE]))


def btcv_order(root: Path) -> None:
    odd.synapse(root, order=(7, 4, 3, 2, 5, 8, 1, 6))


def hounsfield(root: Path) -> None:
    def ct(path: Path, array: np.ndarray, number: int) -> None:
        save(path, (array * 10 - 1000).astype(np.int16))

    pairs(root, save_image=ct)
    (root / "dataset.yaml").write_text("modality: CT\n")


def windowed(dataset: Prepared) -> None:
    for name, volume in whole(dataset).items():
        units = (odd.scan(int(name[1:]))[0] * 10 - 1000).astype(np.int16).T
        np.testing.assert_allclose(volume.image[0], np.clip((units + 175) / 450, 0, 1), atol=1e-6)


def seen_pictures(dataset: Prepared) -> None:
    assert dataset.channels == 1 and len(whole(dataset)) == 8
    for name, volume in whole(dataset).items():
        array, mask = odd.scan(int(name[1:]), (1,), (14, 12, 1))
        np.testing.assert_array_equal(volume.label, mask.T)
        assert np.corrcoef(volume.image.ravel(), array.T.ravel())[0, 1] > 0.99


def oblique(path: Path, array: np.ndarray, number: int) -> None:
    where, angle = affine(), np.deg2rad(30)
    where[:2, :2] = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 1.5
    save(path, array, where)


def unimatch_lists(root: Path) -> None:
    odd.acdc_h5(root, end=".h5\n")
    for name in ("train_slices", "val", "test"):
        (root / f"{name}.list").rename(root / f"{name}.txt")


def other_folders(root: Path) -> None:
    odd.acdc_h5(root)
    (root / "data/slices").rename(root / "ACDC_training_slices")
    (root / "data").rename(root / "ACDC_training_volumes")


def semicolons(root: Path) -> None:
    table(root, pairs(root))
    (root / "cases.csv").write_text((root / "cases.csv").read_text().replace(",", ";"))


def case_twice(root: Path) -> None:
    with_tests(root)
    save(root / "imagesTs/c03_0000.nii.gz", odd.scan(3)[0])
    save(root / "labelsTs/c03.nii.gz", odd.scan(3)[1])


READ |= {
    "sagittal stacks": ("folder", sagittal, lambda d: (cut_at("x")(d), told(d, "another axis", "c00"))),
    "metres": ("folder", lambda r: pairs(r, save_image=in_units(1, 1000), save_label=in_units(1, 1000)), read(says("metres", "converted"))),
    "image stored PSR": ("folder", lambda r: pairs(r, save_image=turned("PSR")), read(cut_at("z", (8, 1.5, 1.5)))),
    "accents": ("folder", decomposed, read(has())),
    "nnunet v1": ("nnunet", nnunet_v1, read(has(2), opposite_channels, quiet)),
    "nnunet test set": ("nnunet", with_tests, read(has(train=5, val=1, test=2), quiet)),
    "nnunet ignore": ("nnunet", ignored, ignored_masks),
    "values merged": ("folder", merged, lambda d: (merged_masks(d), quiet(d))),
    "windowed CT": ("folder", hounsfield, lambda d: (windowed(d), same_masks(d))),
    "pictures": ("images", odd.pictures, seen_pictures),
    "masks of 255 as pictures": ("images", lambda r: odd.pictures(r, mask_value=255), lambda d: (seen_pictures(d), told(d, "0, 255"))),
    "TIFF": ("images", lambda r: odd.pictures(r, ".tif"), seen_pictures),
    "pancreas": ("pancreas", lambda r: odd.atria(r, "Pancreas_h5/{}_norm.h5"), atrium_masks),
    "BTCV's order of organs": ("synapse", btcv_order, says("BTCV", "gallbladder")),
    "oblique": ("folder", lambda r: pairs(r, save_image=oblique, save_label=oblique), read(says("oblique", "30 degrees"))),
    "origin rounded": ("folder", lambda r: pairs(r, save_label=moved((0.05, 0, 0))), read(quiet)),
    "UniMatch's lists": ("acdc", unimatch_lists, acdc_masks),
    "folders of SSL4MIS's script": ("acdc", other_folders, acdc_masks),
    "semicolons": ("folder", semicolons, read(has())),
}  # fmt: skip

REFUSED |= {
    "regions": ("nnunet", lambda r: nnunet(r, labels={"background": 0, "whole": [1, 2], "core": [2]}), ["dataset.json", "regions", "core"]),
    "channel missing": ("nnunet", lambda r: (nnunet(r, 2), (r / "imagesTr/c03_0001.nii.gz").unlink()), ["c03", "0000, 0001"]),
    "turned mask": ("folder", lambda r: pairs(r, save_label=oblique), ["turned by 30.0 degrees"]),
    "JPEG masks": ("images", lambda r: (odd.pictures(r), (r / "masks/p0.png").rename(r / "masks/p0.jpg")), ["JPEG", "PNG"]),
    "masks that are images": ("folder", lambda r: pairs(r, save_label=lambda p, a, n: save(p, a + 0.3)), ["labelsTr", "integers"]),
    "no layout": ("folder", lambda r: (r / "scans").mkdir(), ["cases.csv", "--suggest"]),
    "same case to train and test": ("nnunet", case_twice, ["c03", "two"]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "check"), READ.values(), ids=READ)
def test_it_is_read(name: str, make: Callable, check: Callable, tmp_path: Path) -> None:
    make(tmp_path / "data" if (tmp_path / "data").mkdir() is None else tmp_path)
    check(prepare(name, tmp_path / "data", tmp_path / "cache"))


@pytest.mark.parametrize(("name", "make", "parts"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_sentence(name: str, make: Callable, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(BadInput) as caught:
        prepare(name, tmp_path / "data", tmp_path / "cache")
    said = str(caught.value)
    assert all(part in said for part in parts) and "expected" in said and said.count("\n") == 0, said


def test_warnings_go_to_stderr_and_decisions_to_stdout(tmp_path: Path, monkeypatch, capsys) -> None:
    """With a relative path to the data, and no line of a library's between."""
    (tmp_path / "data").mkdir()
    table(tmp_path / "data", pairs(tmp_path / "data", save_image=negative, save_label=negative))
    absolute(tmp_path / "data")
    pairs(tmp_path / "data", save_image=negative, save_label=negative)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "prepare", "--dataset", "folder", "--data", "data", "--store", "store"])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert caught.value.code in (0, None), said.err
    assert [line.split(":")[0] for line in said.err.splitlines() if "pixdim" in line] == ["warning"]
    assert "slices along z" in said.out and "class 1 = 1" in said.out


def test_what_was_told_stays_with_prepared_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pairs(tmp_path / "data", values=(1, 2, 4))
    first = prepare("folder", tmp_path / "data", tmp_path / "cache")
    again = prepare("folder", None, tmp_path / "cache", data_hash=hash_of(first))
    assert again.warnings == first.warnings and first.warnings and again.facts == first.facts


def test_the_class_table_goes_by_value_not_by_place(tmp_path: Path) -> None:
    """nnU-Net's labels may come in any order: the class table goes by value."""
    for name in "ab":
        (tmp_path / name).mkdir()
    nnunet(tmp_path / "a")
    nnunet(tmp_path / "b", labels={"b": 2, "a": 1, "background": 0})
    one, other = (hash_of(open_dataset("nnunet", tmp_path / name)) for name in "ab")
    assert one == other
