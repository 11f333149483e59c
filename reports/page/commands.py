"""What to type for more of the runs that a report is of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from reports.tables.comparison import Field

EMBEDDED = "phantom"
"""The dataset that needs no folder."""


def more_runs(field: Field, variants: Sequence[str], more: int) -> str | None:
    """The command that runs so many more units (runs, draws, or the seeds of one draw) of these variants; what is done is not run again.

    None where no command asks for these rows: older code stands in them.
    """
    if any(" (code " in variant for variant in variants):
        return None
    dataset, protocol, kind, _ = field.section
    methods = ",".join(variant.removesuffix(" (tuned)") for variant in variants)
    words = ["python", "-m", "benchmark", "run", "--dataset", dataset, *([] if dataset == EMBEDDED else ["--data", "FOLDER"])]
    words += ["--methods", methods, "--labels", str(field.labels), "--protocol", protocol]
    words += ["--hparams", "tuned"] if kind == "tuned" else []
    return shlex.join([*words, *_runs(field.runs, more)])


def _runs(runs: Sequence[tuple[int, int]], more: int) -> list[str]:
    """The options that ask for these runs and more."""
    if list(runs) == [(run, run) for run in range(len(runs))]:
        return ["--runs", str(len(runs) + more)]
    draws, seeds = sorted({draw for draw, _ in runs}), sorted({seed for _, seed in runs})
    if len(draws) > 1:
        draws += range(draws[-1] + 1, draws[-1] + 1 + more)
    else:
        seeds += range(seeds[-1] + 1, seeds[-1] + 1 + more)
    return ["--draws", ",".join(map(str, draws)), "--seeds", ",".join(map(str, seeds))]
