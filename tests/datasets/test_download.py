"""Fetching and unpacking a Decathlon task, from a server of the test's own."""

import hashlib
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.commands import main
from benchmark.ground.errors import BadInput
from datasets.download import unpack
from tests.datasets.layouts import decathlon

TASK = "Task02_Heart"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served as the Decathlon's, with the task's archive in it."""
    served = tmp_path / "served"
    decathlon(served / TASK)
    with tarfile.open(served / f"{TASK}.tar", "w") as tar:
        tar.add(served / TASK, TASK)
    from monai.apps import DecathlonDataset

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setitem(DecathlonDataset.resource, TASK, f"http://127.0.0.1:{http.server_port}/{TASK}.tar")
    checksum = hashlib.md5((served / f"{TASK}.tar").read_bytes()).hexdigest()
    monkeypatch.setitem(DecathlonDataset.md5, TASK, checksum)
    yield served
    http.shutdown()


def prepare(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmark", "prepare", "--download", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_a_task_is_fetched_once_and_prepared(server: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    options = ["--dataset", "decathlon", "--data", tmp_path / "here" / TASK, "--store", tmp_path / "store"]
    assert prepare(monkeypatch, *options) == 0
    assert "decathlon: 6 cases" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "here").iterdir()] == [TASK]
    (server / f"{TASK}.tar").unlink()
    assert prepare(monkeypatch, *options) == 0


def test_a_wrong_checksum_is_refused(server: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (server / f"{TASK}.tar").write_bytes(b"something else")
    assert prepare(monkeypatch, "--dataset", "decathlon", "--data", tmp_path / TASK) == 2
    said = capsys.readouterr().err
    assert f"{TASK}.tar" in said and "could not be fetched" in said and "Traceback" not in said
    assert not (tmp_path / TASK).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dataset", "acdc", "--data", "x"], ["creatis", "SSL4MIS"]),
        (["--dataset", "synapse", "--data", "x"], ["synapse.org"]),
        (["--dataset", "decathlon", "--data", "Task99_Hand"], ["Task99_Hand", "Task04_Hippocampus"]),
        (["--dataset", "decathlon"], ["--data"]),
    ],
)
def test_what_cannot_be_downloaded_says_how_to_get_it(options: list[str], words: list[str], monkeypatch, capsys) -> None:
    assert prepare(monkeypatch, *options) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "info",
    [
        member(f"{TASK}/../../escaped"),
        member("../escaped"),
        member(f"{TASK}/link", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{TASK}/link", tarfile.SYMTYPE, "../../escaped"),
        member(f"{TASK}/hard", tarfile.LNKTYPE, "../../escaped"),
        member(f"{TASK}/device", tarfile.CHRTYPE),
        member("Another/dataset.json"),
    ],
)
def test_an_archive_cannot_leave_its_folder(info: tarfile.TarInfo, tmp_path: Path) -> None:
    archive, home = tmp_path / "evil.tar", tmp_path / "home"
    home.mkdir()
    with tarfile.open(archive, "w") as tar:
        tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(BadInput, match=r"evil\.tar"):
        unpack(archive, home / TASK)
    assert not list(home.iterdir()) and not list(tmp_path.rglob("escaped"))


def test_an_absolute_path_lands_inside_or_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    outside = tmp_path / "outside"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member(str(outside)), io.BytesIO(b"evil"))
    with pytest.raises(BadInput, match=r"evil\.tar"):
        unpack(archive, tmp_path / TASK)
    assert not outside.exists()


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.tar").write_bytes(b"\0" * 100 + b"x" * 500)
    with pytest.raises(BadInput, match=r"cut\.tar cannot be unpacked"):
        unpack(tmp_path / "cut.tar", tmp_path / TASK)
