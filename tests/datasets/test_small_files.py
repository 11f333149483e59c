"""Small files that claim much are refused before the memory is asked for."""

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from benchmark.ground.errors import BadInput
from datasets.formats import header_of, values_of
from datasets.readers import read_h5, read_npz

MANY = 128 * 2**20


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


@pytest.mark.parametrize("chunks", [None, (1, 1024, 1024)])
def test_an_h5_array_that_is_not_there(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in ("image", "label"):
            file.create_dataset(name, (128, 1024, 1024), "f8" if name == "image" else "u1", chunks=chunks)
    assert (tmp_path / "x.h5").stat().st_size < 10_000
    with pytest.raises(BadInput, match=f"image declares {8 * MANY} bytes and stores 0; expected an array that is all there"):
        read_h5(tmp_path / "x.h5", 2)


def test_an_npz_array_that_is_not_there(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (128, 1024, 1024)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("image.npy", header.getvalue())
    with pytest.raises(BadInput, match=f"image declares {8 * MANY} bytes and stores {len(header.getvalue())}"):
        read_npz(tmp_path / "x.npz", 2)


@pytest.mark.parametrize("size", [2**29, 2**30 - 16])
@pytest.mark.parametrize("version", [1, 2])
def test_a_nifti_header_that_goes_on_and_on(tmp_path: Path, size: int, version: int) -> None:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    nibabel.save(kind(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "x.nii")
    content = bytearray((tmp_path / "x.nii").read_bytes())
    head = 348 if version == 1 else 540
    struct.pack_into("<f" if version == 1 else "<q", content, 108 if version == 1 else 168, head + 4 + size)
    with gzip.open(tmp_path / "x.nii.gz", "wb", compresslevel=1) as file:
        file.write(bytes(content[:head]) + b"\1\0\0\0" + struct.pack("<ii", size, 4))
        file.write(bytes(2**20))  # what follows would be zeros without end
    for read in (values_of, header_of):
        with pytest.raises(BadInput, match=r"has its voxels after .* bytes; expected at most"):
            read(tmp_path / "x.nii.gz")


def test_a_nifti_volume_that_is_not_there(tmp_path: Path) -> None:
    """A header that claims 512 MiB of voxels in a file of 1 kB."""
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float64), np.eye(4))
    image.header["dim"][1:4] = (512, 512, 256)
    content = image.header.binaryblock + bytes(8)
    (tmp_path / "x.nii").write_bytes(content)
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(content))
    for name in ("x.nii", "x.nii.gz"):
        with pytest.raises(BadInput, match=r"declares 536870912 bytes and stores .*; expected an image that is all there"):
            values_of(tmp_path / name)


def png(width: int, height: int) -> bytes:
    """The head of a PNG of so many pixels, and no pixel."""
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


@pytest.mark.parametrize(
    ("width", "part"),
    [(12_000, "declares 144000000 bytes and stores"), (60_000, "more than .* pixels; expected a picture of fewer")],
)
def test_a_picture_that_is_not_there(tmp_path: Path, width: int, part: str, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "x.png").write_bytes(png(width, width))
    for read in (values_of, header_of):
        with pytest.raises(BadInput, match=part):
            read(tmp_path / "x.png")
    assert not recwarn.list


def tiff(width: int, height: int) -> bytes:
    """The head of a TIFF of so many pixels in one strip, and no pixel."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def test_a_tiff_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff(12_000, 12_000))
    for read in (values_of, header_of):
        with pytest.raises(BadInput, match="declares 144000000 bytes and stores"):
            read(tmp_path / "x.tif")


def test_a_dicom_slice_that_is_not_there(tmp_path: Path) -> None:
    """A file of 4 x 4 pixels that says it has 20,000 x 20,000."""
    sitk = pytest.importorskip("SimpleITK")
    (tmp_path / "series").mkdir()
    file = tmp_path / "series" / "1.dcm"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4), np.uint16)), str(file))
    content = file.read_bytes()
    for tag in (b"\x28\0\x10\0\x02\0\0\0", b"\x28\0\x11\0\x02\0\0\0"):  # rows and columns
        assert content.count(tag + struct.pack("<H", 4)) == 1
        content = content.replace(tag + struct.pack("<H", 4), tag + struct.pack("<H", 20_000))
    file.write_bytes(content)
    for read in (values_of, header_of):
        with pytest.raises(BadInput, match="declares 400000000 bytes and stores"):
            read(tmp_path / "series")


def test_itk_s_voxels_that_are_not_there(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    head = "ObjectType = Image\nNDims = 3\nDimSize = 512 512 512\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    (tmp_path / "x.mha").write_text(head)
    (tmp_path / "x.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 512 512 512\nencoding: gzip\nendian: little\n\n"
    )
    for name in ("x.mha", "x.nrrd"):
        with pytest.raises(BadInput, match="declares 134217728 bytes and stores"):
            values_of(tmp_path / name)
