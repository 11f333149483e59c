"""Bad datasets at the command line: the file and the reason in one sentence, exit code 2, nothing left in the cache."""

import gzip
import json
import os
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from benchmark.commands import main
from benchmark.ground.errors import BadInput
from datasets.packing import write
from datasets.prepared import Prepared
from datasets.readers import read_h5
from tests.datasets.layouts import LAYOUTS, write_h5, write_nifti
from tests.datasets.test_readers import BAD_FILES

Spoil = Callable[[Path], object]


def edit(name: str, change: Callable[[str], str]) -> Spoil:
    """Change a text file."""
    return lambda folder: (folder / name).write_text(change((folder / name).read_text()))


def cut(name: str, share: float = 0.5) -> Spoil:
    """Keep the first part of a file."""
    return lambda folder: (folder / name).write_bytes((content := (folder / name).read_bytes())[: int(share * len(content))])


def put(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def drop(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def as_folder(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def dangling(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("nowhere")

    return spoil


def copied(source: str, target: str) -> Spoil:
    return lambda folder: shutil.copyfile(folder / source, folder / target)


def nifti(name: str, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> Spoil:
    """Rewrite a NIfTI file with other values, or another affine."""

    def spoil(folder: Path) -> None:
        old = nibabel.load(folder / name)
        values = change(np.asarray(old.dataobj))  # type: ignore[attr-defined]
        nibabel.save(nibabel.Nifti1Image(values, old.affine if affine is None else affine), folder / name)  # type: ignore[attr-defined]

    return spoil


def header(name: str, offset: int, form: str, *values: float) -> Spoil:
    """Overwrite bytes of a NIfTI header."""

    def spoil(folder: Path) -> None:
        packed = (folder / name).read_bytes()
        content = bytearray(gzip.decompress(packed) if name.endswith(".gz") else packed)
        struct.pack_into(form, content, offset, *values)
        (folder / name).write_bytes(gzip.compress(bytes(content)) if name.endswith(".gz") else bytes(content))

    return spoil


def about(change: Callable[[dict], object]) -> Spoil:
    """Change dataset.json."""

    def spoil(folder: Path) -> None:
        found = json.loads((folder / "dataset.json").read_text())
        change(found)
        (folder / "dataset.json").write_text(json.dumps(found))

    return spoil


def with_value(value: float, kind: type = np.float32) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype(kind)
        values[0, 0, 0] = value
        return values

    return change


def bad_checksum(folder: Path) -> None:
    path = folder / NPZ
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(bytes(content))


def huge_npy(folder: Path) -> None:
    text = str({"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20)}).encode().ljust(118)
    with zipfile.ZipFile(folder / NPZ, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text)


def unstacked(folder: Path) -> None:
    """A test volume that is a training volume, stacked from its slices."""
    volume = "patient099_frame01"
    count = len(list((folder / "data/slices").glob(f"{volume}_*")))
    found = [h5py.File(folder / f"data/slices/{volume}_slice_{k}.h5") for k in range(1, count + 1)]
    write_h5(
        folder / "data/patient011_frame01.h5", *(np.stack([file[name][()] for file in found]) for name in ("image", "label"))
    )


def remade(make: Spoil) -> Spoil:
    return lambda folder: remake(folder / VOLUME, make)


def constant_slice(value: float, *shape: int) -> Spoil:
    return lambda folder: write_h5(folder / SLICE, np.full(shape, float(value)), np.zeros(shape, np.uint8))


def renamed_patient(folder: Path) -> None:
    for end in ("", "_gt"):
        copied(f"testing/patient101/patient101_frame01{end}.nii.gz", f"training/patient038/patient038_frame01{end}.nii.gz")(
            folder
        )


def one_patient(folder: Path) -> None:
    for number in range(2, 7):
        for name in ("imagesTr/heart_00{}.nii.gz", "labelsTr/heart_00{}.nii.gz"):
            copied(name.format(1), name.format(number))(folder)


def blank_labels(folder: Path) -> None:
    for path in (folder / "labels").iterdir():
        nifti(f"labels/{path.name}", np.zeros_like)(folder)


def formless(*spacing: float) -> Spoil:
    """A frame whose header gives no affine, and such a spacing."""

    def spoil(folder: Path) -> None:
        header(FRAME, 80, "<3f", *spacing)(folder)
        header(FRAME, 252, "<2h", 0, 0)(folder)

    return spoil


SLICE, VOLUME = "data/slices/patient099_frame01_slice_2.h5", "data/patient011_frame01.h5"
FRAME, MASK = ("training/patient038/patient038_frame01" + end for end in (".nii.gz", "_gt.nii.gz"))
NPZ, H5 = "train_npz/case0031_slice003.npz", "test_vol_h5/case0008.npy.h5"
IMAGE, LABEL = "imagesTr/heart_001.nii.gz", "labelsTr/heart_001.nii.gz"
CARD, CARD_LABEL = "images/case001_ed.nii.gz", "labels/case001_ed.nii.gz"

CORPUS: dict[str, list[tuple[str, Spoil, list[str]]]] = {
    "acdc slices": [
        *((f"volume: {name}", remade(make), ["patient011_frame01.h5"]) for name, (make, _) in BAD_FILES.items()),
        ("list missing", drop("val.list"), ["val.list", "no val.list"]),
        ("list empty", put("test.list", b""), ["test.list", "is empty"]),
        ("list with a blank line", edit("train_slices.list", lambda t: "\n" + t), ["train_slices.list", "blank"]),
        ("list with a line twice", edit("val.list", lambda t: t + t), ["val.list", "expected once"]),
        ("list of bytes", put("val.list", b"\xff\xfe\x00p"), ["val.list", "UTF-8"]),
        ("list of other names", edit("val.list", lambda t: t + "heart_7\n"), ["val.list", "heart_7", "patientNNN_frameMM"]),
        ("list leaving its folder", edit("test.list", lambda t: "../../secret\n" + t), ["test.list", "../../secret"]),
        ("list naming a missing file", drop(SLICE), [SLICE, "cannot be found"]),
        ("patient in two lists", edit("test.list", lambda t: t + "patient028_frame01\n"), ["patient028", "val.list", "test.list"]),
        ("slice left out", edit("train_slices.list", lambda t: t.replace("99_frame01_slice_2\n", "99_frame01_slice_99\n")), ["slice 2"]),
        ("slice truncated", cut(SLICE), [SLICE, "damaged"]),
        ("slice is a folder", as_folder(SLICE), [SLICE, "is a folder"]),
        ("slice is a dangling link", dangling(SLICE), [SLICE, "cannot be found"]),
        ("slice is a volume", constant_slice(0, 2, 9, 9), [SLICE, "2 axes"]),
        ("slice of another size", constant_slice(0, 9, 9), ["patient099_frame01", "one size"]),
        ("intensities up to 255", constant_slice(255, 9, 9), [SLICE, "[0, 1]"]),
        ("one patient's image in train and test", unstacked, ["patient011_frame01 (test)", "patient099_frame01 (train)", "two splits"]),
        ("folder is a file", lambda f: remake(f, lambda path: path.write_text("x")), ["data is a file", "name the folder"]),
    ],
    "acdc official": [
        ("mask missing", drop(MASK), [MASK, "missing"]),
        ("Info.cfg of another group", put("training/patient038/Info.cfg", b"Group: XYZ\n"), ["Info.cfg", "XYZ", "DCM"]),
        ("test patient among training", lambda f: (f / "training/patient101").mkdir(), ["training/patient101"]),
        ("no frames", lambda f: [p.unlink() for p in (f / "training/patient038").glob("*frame*")], ["patient038", "frame"]),
        ("no training patient", lambda f: [shutil.rmtree(f / f"training/patient{n:03}") for n in (99, 38, 50)], ["no training patient"]),
        ("gzip truncated", cut(FRAME, 0.7), [FRAME, "damaged"]),
        ("gzip damaged at its end", cut(FRAME, 0.999), [FRAME, "damaged"]),
        ("no gzip", put(FRAME, b"this is no gzip file"), [FRAME, "damaged"]),
        ("empty file", put(FRAME, b""), [FRAME, "damaged"]),
        ("4-D frame", lambda f: write_nifti(f / FRAME, np.zeros((8, 8, 4, 3), np.int16), (10, 1, 1)), [FRAME, "3 channels", "expected 1"]),
        ("2-D mask", lambda f: write_nifti(f / MASK, np.zeros((8, 8), np.uint8), (10, 1, 1)), [MASK, "(8, 8, 1) voxels"]),
        ("mask on another grid", nifti(MASK, lambda v: v, np.diag([3.0, 3, 3, 1])), [MASK, "spacing (3, 3, 3)"]),
        ("mask of another shape", nifti(MASK, lambda v: v[1:]), [MASK, "voxels"]),
        ("empty volume", lambda f: write_nifti(f / FRAME, np.zeros((8, 0, 4), np.int16), (10, 1, 1)), [FRAME]),
        ("zero spacing", formless(0, 0, 0), [FRAME, "spacing (0, 0, 0)"]),
        ("NaN spacing", formless(np.nan, 1, 1), [FRAME, "nan"]),
        ("spacing of a metre", lambda f: write_nifti(f / FRAME, np.ones((8, 8, 4), np.int16), (1000, 1, 1)), [FRAME, "spacing", "30 mm"]),
        ("declares too many voxels", header(FRAME, 40, "<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1), [FRAME]),
        ("negative size", header(FRAME, 40, "<8h", 3, -5, 10, 10, 1, 1, 1, 1), [FRAME]),
        ("unknown data type", header(FRAME, 70, "<h", 9999), [FRAME]),
        ("header size in neither byte order", header(FRAME, 0, "<i", 77), [FRAME]),
        ("NaN in the image", nifti(FRAME, with_value(np.nan)), [FRAME, "NaN"]),
        ("infinite image", nifti(FRAME, with_value(np.inf)), [FRAME, "infinite"]),
        ("complex image", nifti(FRAME, lambda v: v.astype(np.complex64)), [FRAME, "real numbers"]),
        ("label out of range", nifti(MASK, with_value(4, np.uint8)), [MASK, "holds 4", "0, 1, 2, 3"]),
        ("label negative", nifti(MASK, with_value(-1, np.int16)), [MASK, "holds -1"]),
        ("label fractional", nifti(MASK, with_value(0.5)), [MASK, "holds 0.5"]),
        ("label NaN", nifti(MASK, with_value(np.nan)), [MASK, "holds nan"]),
        ("same bytes in train and test", copied("testing/patient101/patient101_frame01.nii.gz", FRAME), ["patient038_frame01", "differ"]),
        ("same patient in train and test", renamed_patient, ["patient038_frame01 (train)", "patient101_frame01 (official)", "two splits"]),
    ],
    "synapse": [
        ("no npz folder", lambda f: shutil.rmtree(f / "train_npz"), ["train_npz"]),
        ("slice missing", drop(NPZ), ["case0031", "no slice 3"]),
        ("slice truncated", cut(NPZ), [NPZ, "damaged"]),
        ("bad checksum", bad_checksum, [NPZ]),
        ("npy instead of npz", lambda f: np.save((f / NPZ).open("wb"), np.zeros((4, 4))), [NPZ, "npz"]),
        ("pickled", lambda f: np.savez(f / NPZ, image=np.array([{"a": 1}], object), label=np.zeros((4, 4))), [NPZ, "object"]),
        ("label missing", lambda f: np.savez(f / NPZ, image=np.zeros((4, 4), np.float32)), [NPZ, "label is missing"]),
        ("declares too many voxels", huge_npy, [NPZ, "voxels"]),
        ("not scaled", lambda f: np.savez(f / NPZ, image=np.full((4, 4), -125.0), label=np.zeros((4, 4))), [NPZ, "HU"]),
        ("label out of range", lambda f: np.savez(f / NPZ, image=np.zeros((4, 4)), label=np.full((4, 4), 9)), [NPZ, "holds 9"]),
        ("volume truncated", cut(H5), [H5, "damaged"]),
        ("case in both folders", copied(H5, "test_vol_h5/case0031.npy.h5"), ["case0031", "train_npz", "test_vol_h5"]),
        ("no test case", lambda f: [p.unlink() for p in (f / "test_vol_h5").iterdir()], ["0 test cases"]),
    ],
    "decathlon": [
        ("no description", drop("dataset.json"), ["dataset.json", "cannot be found"]),
        ("no JSON", put("dataset.json", b"{"), ["dataset.json", "JSON"]),
        ("JSON without end", put("dataset.json", b"[" * 100_000), ["dataset.json", "JSON"]),
        ("a list", put("dataset.json", b"[]"), ["dataset.json", "list"]),
        ("no labels", about(lambda a: a.pop("labels")), ["dataset.json", "labels"]),
        ("a gap in the labels", about(lambda a: a["labels"].pop("2")), ["labelsTr", "holds 2", "0, 1, 3"]),
        ("labels by name", about(lambda a: a.update(labels={"heart": "wall"})), ["dataset.json", "heart: wall"]),
        ("no training pairs", about(lambda a: a.update(training=a["training"][:2])), ["dataset.json", "2 training"]),
        ("case without an image", about(lambda a: a["training"][0].pop("image")), ["dataset.json", "image"]),
        ("path leaving the folder", about(lambda a: a["training"][0].update(image="../../secret.nii.gz")), ["dataset.json", "outside"]),
        ("absolute path", about(lambda a: a["training"][0].update(image="/etc/hostname")), ["dataset.json", "outside"]),
        ("a case twice", about(lambda a: a["training"].append(a["training"][0])), ["dataset.json", "twice"]),
        ("names a missing file", drop(IMAGE), [IMAGE, "cannot be found"]),
        ("two channels promised", about(lambda a: a.update(modality={"0": "T1", "1": "T2"})), ["imagesTr", "1 channels; expected 2"]),
        ("image is the label's folder", as_folder(LABEL), [LABEL, "is a folder"]),
        ("one image under two names", one_patient, ["heart_00", "two splits"]),
    ],
    "folder with a table": [
        ("no table and no imagesTr", drop("cases.csv"), ["cases.csv", "imagesTr"]),
        ("empty table", put("cases.csv", b""), ["cases.csv", "no column"]),
        ("table without rows", put("cases.csv", b"case,image,label,split\n"), ["cases.csv", "no rows"]),
        ("missing column", edit("cases.csv", lambda t: t.replace("split", "use", 1)), ["cases.csv", "split"]),
        ("unknown split", edit("cases.csv", lambda t: t.replace(",val,", ",dev,", 1)), ["cases.csv, line", "dev", "train, val or test"]),
        ("case in two splits", edit("cases.csv", lambda t: t.replace(",test,ed", ",val,ed", 1)), ["cases.csv, line", "val", "test"]),
        ("volume twice", edit("cases.csv", lambda t: t.replace(",train,es", ",train,ed", 1)), ["cases.csv, line", "twice"]),
        ("path leaving the folder", edit("cases.csv", lambda t: t.replace(CARD, "../secret.nii.gz")), ["cases.csv, line 2", "outside"]),
        ("names a missing file", drop(CARD), [CARD, "cannot be found"]),
        ("test case without label", edit("cases.csv", lambda t: t.replace("labels/case006_ed.nii.gz", "")), ["case006", "no label"]),
        ("row cut short", edit("cases.csv", lambda t: t + "case009\n"), ["cases.csv, line"]),
        ("NUL", edit("cases.csv", lambda t: t + "a\0b\n"), ["cases.csv, line", "NUL"]),
        ("endless line", edit("cases.csv", lambda t: t + "x" * 200_000), ["cases.csv, line", "characters"]),
        ("fewer names than classes", put("classes.txt", b"background\nheart\n"), ["labels/", "holds 2", "expected 0, 1;", "classes.yaml"]),
        ("no foreground anywhere", blank_labels, ["labels hold 0 alone"]),
        ("another number of channels", nifti("images/case005_es.nii.gz", lambda v: np.stack([v, v], -1)), ["case005_es", "2 channels"]),
        ("label is text", put(CARD_LABEL, b"heart"), [CARD_LABEL, "damaged"]),
    ],
    "folder of pairs": [
        ("as .nii and as .nii.gz", copied("imagesTr/case001.nii", "imagesTr/case001.nii.gz"), ["case001", "expected one"]),
        ("labels missing", lambda f: shutil.rmtree(f / "labelsTr"), ["0 labelled training"]),
        ("truncated", cut("imagesTr/case001.nii"), ["imagesTr/case001.nii", "damaged"]),
    ],
}  # fmt: skip


def remake(path: Path, make: Spoil) -> None:
    """Replace a file or a folder by what ``make`` puts there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each layout, in order, to be copied and spoilt."""
    root = tmp_path_factory.mktemp("originals")
    for layout in CORPUS:
        LAYOUTS[layout][1](root / layout)
    return root


def prepare_refused(arguments: list[object], store: Path, monkeypatch, capsys) -> str:
    """What ``prepare`` says of bad data; checks the exit code, that it is one sentence, and that the cache holds nothing."""
    monkeypatch.setattr(sys, "argv", ["benchmark", "prepare", *map(str, arguments), "--store", str(store)])
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert caught.value.code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "Traceback" not in said
    left = [path.name for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not left, left
    return line


@pytest.mark.parametrize(
    ("layout", "spoil", "parts"),
    [pytest.param(layout, *entry[1:], id=f"{layout}: {entry[0]}") for layout, entries in CORPUS.items() for entry in entries],
)
def test_bad_data_is_named_and_leaves_nothing(
    layout: str, spoil: Spoil, parts: list[str], originals: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    shutil.copytree(originals / layout, tmp_path / "data")
    spoil(tmp_path / "data")
    name, _ = LAYOUTS[layout]
    said = prepare_refused(["--dataset", name, "--data", tmp_path / "data"], tmp_path / "store", monkeypatch, capsys)
    assert all(part in said for part in parts), said


def test_the_corpus_is_large_enough() -> None:
    assert sum(map(len, CORPUS.values())) >= 60


def packed(folder: Path) -> Path:
    from datasets.preparing import open_dataset

    source = open_dataset("folder", folder)
    write(source, folder / "data.h5", 8, lambda done, total: None)
    return folder / "data.h5"


def rewritten(name: str, content: bytes) -> Spoil:
    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = np.frombuffer(content, np.uint8)

    return spoil


def linked(path: Path) -> None:
    shutil.copyfile(path, path.with_name("secret.h5"))
    with h5py.File(path, "r+") as file:
        del file["image 0"]
        file["image 0"] = h5py.ExternalLink("secret.h5", "/image 0")


def flipped(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["image 0"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(bytes(content))


def foreign_split(path: Path) -> None:
    about = Prepared(path).manifest
    split = about.split.__class__(about.split.train[1:], about.split.val, about.split.tests)
    rewritten("manifest", about.model_copy(update={"split": split}).model_dump_json().encode())(path)


BAD_PACKS: dict[str, tuple[Spoil, list[str]]] = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-100]), ["damaged"]),
    "other h5": (lambda p: write_h5(p, np.zeros((2, 2)), np.zeros((2, 2), np.uint8)), ["manifest is missing"]),
    "no JSON": (rewritten("manifest", b"hello"), ["no prepared dataset"]),
    "another version": (rewritten("manifest", b'{"format": 3}'), ["no prepared dataset"]),
    "external link": (linked, ["image 0", "link"]),
    "one bit flipped": (flipped, ["damaged"]),
    "label out of range": (rewritten("label 1", b"\x09" * 64), ["label holds 9"]),
    "volume of no case": (foreign_split, ["belongs to no case"]),
}


@pytest.mark.parametrize(("spoil", "parts"), BAD_PACKS.values(), ids=BAD_PACKS)
def test_a_bad_packed_file_is_named(
    spoil: Spoil, parts: list[str], originals: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    shutil.copytree(originals / "folder of pairs", tmp_path / "data")
    pack = packed(tmp_path / "data")
    spoil(pack)
    said = prepare_refused(["--dataset", "folder", "--data", pack], tmp_path / "store", monkeypatch, capsys)
    assert all(part in said for part in ["data.h5", *parts]), said


def test_a_pack_of_another_dataset_is_refused(originals: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    shutil.copytree(originals / "folder of pairs", tmp_path / "data")
    said = prepare_refused(["--dataset", "acdc", "--data", packed(tmp_path / "data")], tmp_path / "store", monkeypatch, capsys)
    assert "holds the dataset folder" in said and "--dataset folder" in said


@contextmanager
def powerless() -> Iterator[None]:
    """Without root's right to read everything."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def test_unreadable_permissions_are_named(originals: Path, monkeypatch, capsys) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        data, store = Path(place) / "data", Path(place) / "store"
        shutil.copytree(originals / "acdc slices", data)
        store.mkdir()
        for folder in (Path(place), data, data / "data", data / "data/slices"):
            folder.chmod(0o755)
        store.chmod(0o777)
        monkeypatch.setattr(sys, "argv", ["benchmark", "prepare", "--dataset", "acdc", "--data", str(data), "--store", place])
        with pytest.raises(SystemExit):  # imports what is needed while the interpreter's own files may be read
            main()
        (data / SLICE).chmod(0)
        with powerless():
            said = prepare_refused(["--dataset", "acdc", "--data", data], store, monkeypatch, capsys)
        assert SLICE in said and "permissions" in said


@pytest.mark.parametrize("size", range(5))
def test_a_chunk_without_room_for_its_checksum_is_refused(size: int, tmp_path: Path) -> None:
    """HDF5 itself would die of it."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for name in ("image", "label"):
            array = file.create_dataset(name, data=np.ones((4, 4, 4)), chunks=(4, 4, 4), compression="gzip", fletcher32=True)
        stored = array.id.get_chunk_info(0).size
    content = path.read_bytes()
    at = content.rindex(b"TREE\x01\0\x01\0") + 24  # the first chunk of the last array: its size comes first
    assert content[at : at + 4] == struct.pack("<I", stored)
    path.write_bytes(content[:at] + struct.pack("<I", size) + content[at + 4 :])
    with pytest.raises(BadInput, match=rf"label has a chunk of {size} bytes; expected at least 5"):
        read_h5(path, 2)
