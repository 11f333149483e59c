"""The benchmark from Python: what the command line does, with the same session inside; tables are pandas', errors are BadInput.

    import benchmark

    runs = benchmark.run(methods=["supervised", "cctr"], labels=[1, 3], protocol="quick")
    runs.leaderboard()
    benchmark.open("runs").compare("cctr", "supervised")

In a script, calls of ``run`` stand under ``if __name__ == "__main__":``, for registrations and workers are processes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from benchmark.ground.errors import BadInput

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd

    from benchmark.records.table import Records

KNOWN = ["cell", "dataset", "protocol", "kind", "labels", "variant", "draw", "seed", "reported"]
"""What ``Runs.cases`` says of each row's cell."""


class Options(TypedDict, total=False):
    """Options of ``run`` beside the first ones; each is the command line's of that name, and so is its default."""

    runs: int
    draws: Sequence[int]
    seeds: Sequence[int]
    folds: int | Literal["loo"]
    device: str
    jobs: int
    launcher: Literal["inline", "devices"]
    tracking: str
    finished: Literal["renew", "keep", "again"]
    plugins: Sequence[str | Path]


class Runs:
    """The records of stores as they were when they were opened. Every table is computed anew and may be changed at will."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def __repr__(self) -> str:
        cells = self._records.cells
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in cells["outcome"].value_counts().items())
        return f"Runs({outcomes or 'none'})"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was left out, and why."""
        return self._records.notes

    def cells(self) -> pd.DataFrame:
        """A row for each cell: what it is, its outcome, what it cost, and the error of one that failed."""
        return self._records.cells.copy()

    def cases(self) -> pd.DataFrame:
        """The long table: a row for each case, volume, class, network, selection and metric of each finished cell; see ``KNOWN``."""
        known = self._records.cells.reindex(columns=KNOWN)
        return known.merge(self._records.cases.astype({"cell": str}), on="cell")

    def leaderboard(self, selection: Literal["last", "val"] = "last", every_network: bool = False) -> pd.DataFrame:
        """One row for each method and budget, best first; see ``reports.tables.leaderboard.leaderboard``.

        Raises:
            BadInput: there are no records, or some cannot stand in one table.
        """
        from reports.tables.leaderboard import leaderboard

        return leaderboard(self._records, selection, every_network)

    def compare(self, variant: str, baseline: str = "supervised", margin: float = 1.0) -> pd.DataFrame:
        """A variant against a baseline, paired on runs and cases: a row for each section and budget in which both have run.

        Columns: those of the section, labels, and of ``Field.against`` (shift with its interval, p, verdict and others, DSC fractions).
        p-values are adjusted for all variants that stand beside the baseline, as in the report.

        Args:
            margin: DSC points within which two methods count as equivalent.

        Raises:
            BadInput: they have no budget in common; or as ``leaderboard``.
        """
        import pandas as pd

        from reports.tables.comparable import SECTION
        from reports.tables.comparison import AGAINST, fields

        rows = []
        for field in fields(self._records):
            table = field.ranked.against(baseline, margin)
            where = dict(zip(SECTION, field.section, strict=True)) | {"labels": field.labels, "baseline": baseline}
            rows += [where | row for row in table[table["variant"] == variant].to_dict("records")]
        if not rows:
            known = ", ".join(sorted(set(self._records.cells["variant"])))
            raise BadInput(
                f"compare: {variant} and {baseline} have run together at no budget, or have not converged; expected two of {known}"
            )
        return pd.DataFrame(rows, columns=[*SECTION, "labels", "baseline", *AGAINST])


def open(*stores: str | Path, code: Literal["newest", "all"] = "newest") -> Runs:
    """The records of one or more stores. code: of runs that different code made, the newest, or all.

    Raises:
        BadInput: a store is not there.
    """
    from benchmark.records.store import Store
    from benchmark.records.table import collect

    return Runs(collect(*(Store(Path(store)) for store in stores or ("runs",)), code=code))


def run(
    methods: str | Sequence[str] = "supervised,cps,cctr",
    labels: str | Sequence[int | str] = "1,3,7",
    *,
    dataset: str = "phantom",
    data: str | Path | None = None,
    protocol: str = "quick",
    store: str | Path = "runs",
    **options: Unpack[Options],
) -> Runs:
    """Train and test methods at label budgets, as the command ``run`` does: finished cells are not run again, the report is written.

    Cells run one after another in this process; with ``launcher="devices"`` side by side, as on the command line. Progress goes to stderr.

    Returns:
        These cells' records; a cell that failed is in ``cells()`` with its error.

    Raises:
        BadInput: an option, the dataset or the store is not in order; the sentence is the command line's.
        KeyboardInterrupt: after every running cell has written its checkpoint; the same call goes on from there.
    """
    from functools import partial

    from benchmark.commands.groups import Finished, Where
    from benchmark.commands.groups import Runs as Asked
    from benchmark.commands.options import LauncherChoice, Stale, use_plugins
    from benchmark.commands.sessions import session_of
    from benchmark.study import grid

    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        raise BadInput(f"run has no option {unknown[0]}; expected some of {', '.join(Options.__annotations__)}")
    use_plugins([Path(file) for file in options.get("plugins", ())])
    named = _listed(methods)
    asked = Asked(
        labels=_listed(labels),
        dataset=dataset,
        data=None if data is None else Path(data),
        protocol=protocol,
        runs=options.get("runs"),
        draws=_listed(options["draws"]) if "draws" in options else None,
        seeds=_listed(options["seeds"]) if "seeds" in options else None,
        folds=str(options["folds"]) if "folds" in options else None,
    )
    where = Where(
        store=Path(store),
        device=options.get("device", "auto"),
        jobs=options.get("jobs"),
        launcher=LauncherChoice(_choice("launcher", options.get("launcher", "inline"), ("inline", "devices"))),
        tracking=options.get("tracking"),
    )
    fate = _choice("finished", options.get("finished", "renew"), ("renew", "keep", "again"))
    finished = Finished(stale=Stale("keep" if fate == "keep" else "renew"), again=fate == "again")
    said = f"benchmark.run(methods={named!r}, labels={asked.labels!r}, dataset={dataset!r}, protocol={protocol!r})"
    session = session_of(asked, partial(grid.parse_methods, named), where, finished, said)
    session.run()
    session.report()
    return Runs(session.records())


def _listed(values: Any) -> str:
    """A comma list, as the command line has it."""
    return values if isinstance(values, str) else ",".join(map(str, values))


def _choice(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise BadInput(f"{name}: found {value!r}; expected one of {', '.join(known)}")
    return value
