"""Fetching a task of the Medical Segmentation Decathlon: addresses and checksums are MONAI's."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from benchmark.ground.errors import BadInput


def fetch_task(path: Path) -> None:
    """Download the task that ``path`` is named after, check it, and unpack it to ``path``, which appears when it is whole.

    Raises:
        BadInput: no such task, no network, a wrong checksum, or an archive with paths that leave its folder.
    """
    from monai.apps import DecathlonDataset, download_url

    addresses, sums = DecathlonDataset.resource, DecathlonDataset.md5
    if path.name not in addresses:
        raise BadInput(f"--download: no task is called {path.name}; expected --data to end in one of {', '.join(addresses)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = path.with_suffix(".tar")
    try:
        download_url(addresses[path.name], archive, sums[path.name], "md5")  # kept between attempts where its checksum is right
    except Exception as error:  # MONAI passes on whatever the network library raises
        raise BadInput(
            f"--download: {addresses[path.name]} could not be fetched ({error}); try again, or unpack {archive.name} there yourself"
        ) from error
    unpack(archive, path)
    archive.unlink()


def unpack(archive: Path, path: Path) -> None:
    """Unpack the folder ``path.name`` of a tar archive to ``path``, which appears when it is whole.

    Raises:
        BadInput: the archive is damaged, holds no such folder, or has members that leave it or are no plain files.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise BadInput(f"{archive} cannot be unpacked ({error}); delete it and download it again") from error
        inner = Path(temporary) / path.name
        if not inner.is_dir():
            found = ", ".join(sorted(os.listdir(temporary))[:5]) or "nothing"
            raise BadInput(f"{archive} holds {found}; expected a folder {path.name}; delete it and download it again")
        shutil.move(inner, path)
