"""Whatever goes wrong is one sentence: errors of the operating system, and those that nobody foresaw."""

import errno
import os
import pickle
import re
import tempfile
from pathlib import Path

import pytest

from benchmark.commands import main
from benchmark.ground import faults
from benchmark.ground.errors import BadInput
from benchmark.ground.files import UNWRITABLE
from benchmark.records import status


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command."""
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def raise_in_ls(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(status, "statuses", broken)


@pytest.mark.parametrize("number", sorted({*faults.MEANINGS, *UNWRITABLE}), ids=errno.errorcode.get)
def test_an_error_of_the_operating_system_is_one_sentence_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    raise_in_ls(monkeypatch, OSError(number, os.strerror(number), "/somewhere/of the user"))
    assert ended(monkeypatch, "ls", "cells") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and "/somewhere/of the user" in told and "Errno" not in told


def test_every_kind_of_error_that_a_disk_gives_has_words() -> None:
    kinds = "EROFS EACCES EPERM EISDIR ENOTDIR EEXIST ENAMETOOLONG EMFILE ENFILE ENOSPC EDQUOT EFBIG ELOOP ENOENT"
    for kind in kinds.split():
        assert faults.in_words(OSError(getattr(errno, kind), "", "/file")), kind


@pytest.mark.parametrize(
    "error", [KeyError("loss"), RecursionError("too deep"), MemoryError(), OSError("no number"), AssertionError()]
)
def test_what_nobody_foresaw_is_one_sentence_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, error: Exception
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    raise_in_ls(monkeypatch, error)
    assert ended(monkeypatch, "ls", "cells") == 70
    told = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert told.startswith(f"error: {type(error).__name__}") and told.count("\n") == 1 and str(file) in told
    assert "Traceback" in file.read_text() and "in broken" in file.read_text()


def test_what_is_missing_of_the_code_is_no_users_to_mend(tmp_path: Path) -> None:
    assert faults.in_words(FileNotFoundError(errno.ENOENT, "", str(Path(faults.__file__).with_name("gone.txt")))) is None
    assert faults.in_words(FileNotFoundError(errno.ENOENT, "", str(tmp_path / "gone.txt")))


def test_without_a_temporary_folder_it_is_still_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    raise_in_ls(monkeypatch, ValueError("two\nlines"))
    assert ended(monkeypatch, "ls", "cells") == 70
    told = capsys.readouterr().err
    assert told.startswith("error: ValueError: two lines; ") and told.count("\n") == 1 and "--debug" in told


@pytest.mark.parametrize("by_option", [True, False])
def test_debug_shows_where_an_error_came_from_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, by_option: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(faults.DEBUG, "" if by_option else "1")
    raise_in_ls(monkeypatch, ValueError("http://bob:S3cret@host"))
    assert ended(monkeypatch, *(["--debug"] if by_option else []), "ls", "cells") == 70
    told = capsys.readouterr().err
    assert re.search(r"Traceback.*in broken.*^error: ValueError", told, re.DOTALL | re.MULTILINE) and "S3cret" not in told
    assert all("S3cret" not in file.read_text() for file in tmp_path.iterdir())


def test_a_sentence_is_one_line_whatever_it_repeats() -> None:
    said = str(BadInput("--factors: affine\ncctr\r\x1b[31m\u2028\ud800 é ٣"))
    assert said == r"--factors: affine\ncctr\r\x1b[31m\u2028\ud800 é ٣" and len(said.splitlines()) == 1
    assert str(pickle.loads(pickle.dumps(BadInput(said)))) == said
