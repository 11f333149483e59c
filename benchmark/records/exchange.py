"""Records that travel: a store without weights, caches and pictures, and its way into another store.

An export is a store: ``report``, ``track``, ``ls`` and ``run`` read it. Its ``.done`` files hold the checksums of the weights that were
left behind.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum
from benchmark.ground.redaction import for_travel
from benchmark.records.ablations import FOLDER, remember, remembered
from benchmark.records.packed import Packed, opened, written
from benchmark.records.schema import BadRecord
from benchmark.records.store import ABSENT, BEST, DONE, KEPT, SMALL, WEIGHTS, CellFolder, Store

KEPT_BYTES = 200


@dataclass
class Outcome:
    """How many cells an export or import added, renewed (by a newer outcome) and found there; and what it refused, in words."""

    added: int = 0
    renewed: int = 0
    there: int = 0
    refused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.added} added", f"{self.renewed} renewed", f"{self.there} there already"]
        return ", ".join([*parts, *([f"{len(self.refused)} refused"] if self.refused else [])])


def export(store: Store, out: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
    """Write the records of ``store`` to ``out``, which may hold an earlier export. Secrets and the names of folders are left out of them.

    Raises:
        BadInput: there is no such store, it is ``out``, or ``out`` cannot be written.
    """
    store.expect()
    return _merge(store, out, tell, with_weights=False)


def pack(store: Store, file: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
    """Write the records of ``store`` to one ``file``, anew, without what ``export`` leaves out of them.

    Raises:
        BadInput: there is no such store, or something that is no such file stands in its place.
    """
    store.expect()
    if file.exists():
        Packed(file).expect("--out: ")
    folders, linked = store.walk()
    outcome = Outcome()
    with written(file, store.texts(FOLDER)) as add:
        for number, folder in enumerate(folders, 1):
            try:
                _check(folder)
                add(folder.path.parts[-3:], _travelling_files(folder, with_weights=False))
                outcome.added += 1
            except BadRecord as error:
                outcome.refused.append(str(error))
            tell(number, len(folders))
    outcome.refused += linked
    return outcome


def merge(source: Path, store: Store, tell: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
    """Bring the cells of the store or export ``source`` into ``store``. Of a cell that both have, a finished outcome goes before an
    unfinished one, the newer code before the older; one of the same code with other numbers is refused.

    Raises:
        BadInput: there is no such store, or both are the same.
    """
    taken = opened(source)
    taken.expect("")
    return _merge(taken, store.root, tell, with_weights=True)


def _merge(source: Store, target: Path, tell: Callable[[int, int], None], with_weights: bool) -> Outcome:
    if target.exists() and (not target.is_dir() or target.samefile(source.root)):
        raise BadInput(f"{target} cannot take the records of {source.root}; expected another folder")
    folders, linked = source.walk()
    outcome = Outcome()
    for number, folder in enumerate(folders, 1):
        try:
            _take(folder, CellFolder(target / folder.path.relative_to(source.root)), outcome, with_weights)
        except BadRecord as error:
            outcome.refused.append(str(error))
        tell(number, len(folders))
    outcome.refused += linked
    for ablation in remembered(source, tell=outcome.refused.append):
        remember(ablation, Store(target))
    return outcome


def _take(mine: CellFolder, theirs: CellFolder, outcome: Outcome, with_weights: bool) -> None:
    """Bring one cell from ``mine`` to ``theirs``.

    Raises:
        BadRecord: it is damaged, stands in the place of another cell, or contradicts what is there.
    """
    _check(mine)
    rank, old_rank = _rank(mine), _rank(theirs)
    if rank[0] == old_rank[0] == 2:
        same_code = (mine.record() or {}).get("code_hash") == (theirs.record() or {}).get("code_hash")
        if same_code and (difference := _difference(mine, theirs)):
            raise BadRecord(f"{mine.path} and {theirs.path} are the same cell with other numbers: {difference}")
        brings_weights = with_weights and mine.done(WEIGHTS) and not theirs.done(WEIGHTS)
        if not brings_weights and (same_code or rank < old_rank):
            outcome.there += 1
            return
    elif rank <= old_rank:
        outcome.there += 1
        return
    with theirs.lock() as hold:
        if hold is None:
            raise BadRecord(f"{theirs.path} is being run by another command; repeat this one when it has ended")
        theirs.clear(DONE, KEPT, "record.json")
        for name, content in _travelling_files(mine, with_weights).items():
            theirs.write(name, content)
    (theirs.path / ".lease").unlink(missing_ok=True)
    if old_rank[0] == 0:
        outcome.added += 1
    else:
        outcome.renewed += 1


def _check(folder: CellFolder) -> None:
    """Raise BadRecord unless the cell is as it was written and belongs where it stands: names from a file become no path elsewhere."""
    try:
        cell = folder.cell()
    except OSError:
        raise BadRecord(f"{folder.path / 'cell.json'} is not there") from None
    here = folder.path.parts[-3:]
    if (cell.dataset, cell.method) != here[:2]:
        raise BadRecord(f"{folder.path / 'cell.json'} is of {cell.dataset}/{cell.method}, and does not belong there")
    try:
        name = folder.read_record()["cell"]
    except OSError:
        name = cell.id
    if name != here[2]:
        raise BadRecord(f"{folder.path} holds the cell {name}, which does not belong there")
    damaged = folder.damaged()
    if damaged:
        raise BadRecord(f"{folder.path / damaged[0]} is not as it was written")


def _rank(folder: CellFolder) -> tuple[int, str]:
    """What goes before what: nothing, a plan or failure, a finished cell; then the newer."""
    if not folder.has("cell.json"):
        return 0, ""
    record = folder.record()
    if record is None:
        return 1, ""
    return (2 if folder.done() else 1), record.get("ended", "")


def _difference(mine: CellFolder, theirs: CellFolder) -> str:
    """The first number in which two outcomes of one cell differ, in words; empty where there is none."""
    ours, other = (folder.read("cases.csv").decode() for folder in (mine, theirs))
    if ours == other:
        return ""
    pairs = zip(ours.splitlines(), other.splitlines(), strict=False)
    return next((f"{a} against {b}" for a, b in pairs if a != b), "one has more lines in cases.csv")


def _travelling_files(folder: CellFolder, with_weights: bool) -> dict[str, bytes]:
    """The cell's files as they travel, by name, its checksums last.

    Raises:
        BadRecord: one cannot be read.
    """
    sums: dict[str, str] = json.loads(folder.read(DONE)) if folder.done() else {}
    files = {}
    for name in sums or [name for name in SMALL if folder.has(name)]:
        content = _content(folder, name) if name not in (WEIGHTS, BEST) or with_weights else None
        if content is None:
            sums[name] = ABSENT + sums[name].removeprefix(ABSENT)
            continue
        if name == "record.json":
            content = json.dumps(_travelling(json.loads(content)), indent=1).encode()
            sums |= {name: checksum(content)} if sums else {}
        files[name] = content
    with contextlib.suppress(OSError):
        files[KEPT] = folder.read(KEPT, KEPT_BYTES)
    return files | ({DONE: json.dumps(sums, indent=1).encode()} if sums else {})


def _content(folder: CellFolder, name: str) -> bytes | None:
    """One of the cell's files; None where it is not there.

    Raises:
        BadRecord: it is a folder or link, or cannot be read.
    """
    try:
        return folder.read(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadRecord(f"{folder.path / name} cannot be read ({error.strerror})") from None


def _travelling(record: dict[str, Any]) -> dict[str, Any]:
    """A record without secrets, folders, and the names of the machine and process that made it."""
    environment = {key: value for key, value in record.get("environment", {}).items() if key not in ("host", "process")}
    return _redacted(record | ({"environment": environment} if "environment" in record else {}))


def _redacted(value: Any) -> Any:
    """A record with every text as ``for_travel`` leaves it."""
    if isinstance(value, str):
        return for_travel(value)
    if isinstance(value, list):
        return [_redacted(part) for part in value]
    return {key: _redacted(part) for key, part in value.items()} if isinstance(value, dict) else value
