"""Readers hand out what is in the file, and name what is wrong with a bad one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from datasets.readers import hash_files, read_h5, read_names

SHAPE = (3, 5, 7)
IMAGE = np.random.default_rng(0).random(SHAPE)
LABEL = np.random.default_rng(1).integers(0, 4, SHAPE).astype(np.uint8)


def write(path: Path, image: object = IMAGE, label: object = LABEL, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=image, **options)
        file.create_dataset("label", data=label, **options)
    return path


@pytest.mark.parametrize("image_type", ["f2", "f4", "f8", ">f8"])
@pytest.mark.parametrize("label_type", ["u1", "i8", ">i2", "f4", "f8"])
def test_values_of_any_numeric_type_are_read(tmp_path: Path, image_type: str, label_type: str) -> None:
    image, label = read_h5(write(tmp_path / "a.h5", IMAGE.astype(image_type), LABEL.astype(label_type)), 4)
    assert label is not None
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(image, IMAGE.astype(image_type).astype(np.float32))
    np.testing.assert_array_equal(label, LABEL)


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_usual_compressions_are_read(tmp_path: Path, compression: str | None) -> None:
    image, _ = read_h5(write(tmp_path / "a.h5", compression=compression, shuffle=True, chunks=(1, 5, 7)), 4)
    np.testing.assert_array_equal(image, IMAGE.astype(np.float32))


def test_without_labels_none_is_needed_and_none_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["image"] = IMAGE
    assert read_h5(tmp_path / "a.h5", 4, labels=False)[1] is None
    image, label = read_h5(write(tmp_path / "b.h5", label=np.full(SHAPE, 99)), 4, labels=False)
    assert label is None
    np.testing.assert_array_equal(image, IMAGE.astype(np.float32))


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[1, 2, 3] = value
    return changed


def truncated(path: Path) -> None:
    content = write(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damaged_chunk(path: Path) -> None:
    write(path, compression="gzip", chunks=SHAPE)
    with h5py.File(path) as file:
        chunk = file["image"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)


def external_link(path: Path) -> None:
    write(path.with_name("secret.h5"))
    with h5py.File(path, "w") as file:
        file["image"] = h5py.ExternalLink("secret.h5", "/image")
        file["label"] = LABEL


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["elsewhere"] = IMAGE
        file["image"] = h5py.SoftLink("/elsewhere")
        file["label"] = LABEL


def external_storage(path: Path) -> None:
    secret = path.with_name("secret.raw")
    secret.write_bytes(IMAGE.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("image", SHAPE, "f8", external=[(str(secret), 0, IMAGE.nbytes)])
        file["label"] = LABEL


def virtual_storage(path: Path) -> None:
    write(path.with_name("secret.h5"))
    layout = h5py.VirtualLayout(SHAPE, "f8")
    layout[...] = h5py.VirtualSource("secret.h5", "image", SHAPE)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("image", layout)
        file["label"] = LABEL


def plug_in_filter(path: Path) -> None:
    space, creation = h5py.h5s.create_simple(SHAPE), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(SHAPE)
    creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"image", h5py.h5t.NATIVE_FLOAT, space, creation)
        file["label"] = LABEL


def huge(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, kind in (("image", "f4"), ("label", "u1")):
            file.create_dataset(name, (2**10, 2**10, 2**10), kind, chunks=(1, 64, 64))


def huge_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name in ("image", "label"):
            file.create_dataset(name, (1, 1), "f4", chunks=(2**15, 2**15 - 1), maxshape=(None, None))


def only(name: str, content: object) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file[name] = content

    return make


def image_is_a_group(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["image/pixels"] = IMAGE
        file["label"] = LABEL


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda path: None, "cannot be found"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty file": (lambda path: path.write_bytes(b""), "not an h5 file, truncated or damaged"),
    "text": (lambda path: path.write_text("hello"), "not an h5 file, truncated or damaged"),
    "truncated": (truncated, "not an h5 file, truncated or damaged"),
    "damaged chunk": (damaged_chunk, "not an h5 file, truncated or damaged"),
    "no image": (only("label", LABEL), r"image is missing \(found label\)"),
    "no label": (only("image", IMAGE), r"label is missing \(found image\)"),
    "external link": (external_link, "image is a link"),
    "soft link": (soft_link, "image is a link"),
    "external storage": (external_storage, "image is stored outside the file"),
    "virtual storage": (virtual_storage, "image is stored outside the file"),
    "plug-in filter": (plug_in_filter, "compressed by HDF5 filter 32015"),
    "huge": (huge, "declares 1073741824 voxels"),
    "huge chunk": (huge_chunk, "declares 1 voxels in chunks of"),
    "group": (image_is_a_group, "image is a group"),
    "integer image": (lambda path: write(path, image=LABEL), "image is of type uint8"),
    "text label": (lambda path: write(path, label="heart"), "label is of type object"),
    "complex image": (lambda path: write(path, image=IMAGE * 1j), "image is of type complex128"),
    "scalar": (lambda path: write(path, image=0.5), "image is empty"),
    "no voxel": (lambda path: write(path, image=IMAGE[:0], label=LABEL[:0]), "image is empty"),
    "shapes": (lambda path: write(path, label=LABEL[:, :, 1:]), r"image is \(3, 5, 7\) and label \(3, 5, 6\)"),
    "NaN": (lambda path: write(path, image=with_value(IMAGE, np.nan)), "1 voxels of the image are NaN"),
    "infinite": (lambda path: write(path, image=with_value(IMAGE, -np.inf)), "1 voxels of the image are NaN or infinite"),
    "beyond float32": (lambda path: write(path, image=with_value(IMAGE, 1e300)), "1 voxels of the image are NaN or infinite"),
    "class too high": (lambda path: write(path, label=with_value(LABEL, 4).astype(np.uint8)), "holds 4 in 1 voxels"),
    "class too high by 256": (lambda path: write(path, label=with_value(LABEL, 257).astype(np.int32)), "holds 257 in 1 voxels"),
    "class negative": (lambda path: write(path, label=with_value(LABEL, -1).astype(np.int16)), "holds -1 in 1 voxels"),
    "class fractional": (lambda path: write(path, label=with_value(LABEL, 1.5)), "holds 1.5 in 1 voxels"),
    "class NaN": (lambda path: write(path, label=with_value(LABEL, np.nan)), "holds nan in 1 voxels"),
}


@pytest.mark.parametrize("make, reason", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_are_named_with_the_reason(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / "bad.h5"
    make(path)
    with pytest.raises(BadInput, match=reason) as caught:
        read_h5(path, 4)
    assert str(path) in str(caught.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.data())
def test_damaged_bytes_give_the_declared_error_or_valid_arrays(tmp_path: Path, data: st.DataObject) -> None:
    path = write(tmp_path / "a.h5", compression="gzip", chunks=SHAPE)
    content = bytearray(path.read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        image, label = read_h5(path, 4)
    except BadInput:
        return
    assert label is not None and image.shape == label.shape and np.isfinite(image).all() and label.max() < 4


def test_names_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.list").write_bytes(b"b\r\na\nc")
    assert read_names(tmp_path / "a.list") == ["b", "a", "c"]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"a\n\nb\n", "line 2 is blank"),
        (b"a\n \nb\n", "line 2 is blank"),
        (b" \n", "is empty"),
        (b"a\nb\na\n", "a is on line 1 and on line 3"),
        (b"a\n\xff\n", "is not UTF-8 text"),
        (b"a" * (16 * 2**20 + 1), "is larger than"),
    ],
)
def test_bad_lists_are_named_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.list").write_bytes(content)
    with pytest.raises(BadInput, match=reason) as caught:
        read_names(tmp_path / "a.list")
    assert "a.list" in str(caught.value)


def test_the_hash_depends_on_names_and_bytes_and_on_nothing_else(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, bytes]) -> str:
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return hash_files(tmp_path / name, [tmp_path / name / file for file in files])

    base = folder("base", {"images/a": b"one", "labels/a": b"two"})
    lines = [
        f"{name}\0{hashlib.blake2b(content).hexdigest()}\n" for name, content in (("images/a", b"one"), ("labels/a", b"two"))
    ]
    assert base == hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
    assert folder("elsewhere", {"labels/a": b"two", "images/a": b"one"}) == base
    others = [
        folder("swapped", {"images/a": b"two", "labels/a": b"one"}),
        folder("renamed", {"images/b": b"one", "labels/a": b"two"}),
        folder("moved bytes", {"images/a": b"onet", "labels/a": b"wo"}),
        folder("fewer", {"images/a": b"one"}),
    ]
    assert len({base, *others}) == 5
    with pytest.raises(BadInput, match="absent cannot be read"):
        hash_files(tmp_path, [tmp_path / "absent"])
