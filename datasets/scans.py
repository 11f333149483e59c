"""New scans: files that belong to no dataset, found, and read as the volumes that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.ground.errors import BadInput
from datasets.dataset import Volume
from datasets.formats import ENDINGS, ending_of, header_of, stem_of
from datasets.pairing import by_channel, by_stem
from datasets.readers import is_series, read_h5
from datasets.reading import Place, Reading, axes_of, upright
from datasets.volumes import Source, place_of, read_volume, scaled

ARRAYS = (".npy.h5", ".h5")
Triple = tuple[float, float, float]


def find_scans(paths: Sequence[Path], reading: Reading) -> dict[str, Source]:
    """The scans that files and folders hold, by name; one that lies in a file for each channel (``case_0000``) is one scan.

    Two files of one name are told apart by their folders'.

    Raises:
        BadInput: there is no such file, a folder holds no image, or two scans cannot be told apart by name.
    """
    found: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        for stem, file in _files(path, reading).items():
            name = stem if stem not in found else f"{file.absolute().parent.name}_{stem}"
            if name in found:
                raise BadInput(
                    f"--images: {found[name]} and {file} are both called {name}; expected different names; rename one"
                )
            found[name] = file
    channels = len(reading.windows)
    groups = by_channel(paths[0], found, (), channels if channels > 1 else None)
    return {name: Source(tuple(files)) for name, files in groups.items()}


def _files(path: Path, reading: Reading) -> dict[str, Path]:
    """By name without ending: the file, or the images in the folder, or the DICOM series that the folder is."""
    endings = ARRAYS if reading.arrays else ENDINGS
    if path.is_dir() and not is_series(path):
        arrays = {_stem(file): file for file in sorted(path.iterdir()) if file.name.endswith(ARRAYS)}
        inside = arrays if reading.arrays else by_stem(path)
        if not inside:
            raise BadInput(
                f"--images: {path} holds no image; expected files that end with {', '.join(endings)}; name their folder"
            )
        return inside
    if not path.exists():
        raise BadInput(f"--images: {path} cannot be found; expected an image, or a folder of images")
    if path.is_file() and not (path.name.endswith(ARRAYS) if reading.arrays else ending_of(path.name)):
        kind = "an h5 file with the array image, as in training" if reading.arrays else "an image"
        raise BadInput(f"--images: {path} is not {kind}; expected a name that ends with {', '.join(endings)}; convert it")
    return {_stem(path): path}


def _stem(file: Path) -> str:
    ending = next((ending for ending in ARRAYS if file.name.endswith(ending)), "")
    return file.name.removesuffix(ending) if ending else stem_of(file.name)


def read_scan(name: str, source: Source, reading: Reading, spacing: Triple) -> tuple[Volume, Place]:
    """A scan as a volume without a mask, and the place of its file. spacing: (z, y, x) of volumes whose files store none.

    Raises:
        BadInput: a file is damaged, or has other channels than the training volumes.
    """
    if reading.arrays:
        return _read_arrays(name, source.images[0], reading, spacing), upright(spacing)
    volume = read_volume(name, name, source, None, reading.windows, reading.axis, reading.percentiles)
    return volume, place_of(header_of(source.images[0]))


def _read_arrays(name: str, path: Path, reading: Reading, spacing: Triple) -> Volume:
    image, _ = read_h5(path, len(reading.values), labels=False)
    if image.ndim != 3:
        raise BadInput(f"{path}: the image has shape {image.shape}; expected 3 axes; export it again")
    image = image.transpose(axes_of(reading.axis)) if reading.arrays == "xyz" else image
    channel = scaled(image, reading.windows[0], reading.percentiles)
    return Volume(name, name, channel[None], None, spacing, spacing_known=False)
