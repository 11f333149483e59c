"""Options of `tune`: how it searches, and for what."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer


class SamplerChoice(StrEnum):
    """How trials are drawn."""

    tpe = "tpe"
    random = "random"
    nsga2 = "nsga2"


class PrunerChoice(StrEnum):
    """Whether trials end early."""

    none = "none"
    median = "median"
    hyperband = "hyperband"


@dataclass(kw_only=True, eq=False, repr=False)
class How:
    """How `tune` searches, and for what."""

    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each method at each budget; the first has the published values.")
    ] = 20
    timeout: Annotated[
        str | None, typer.Option(help="End after this time, such as 30m or 8h; the same command goes on.", metavar="TIME")
    ] = None
    objective: Annotated[
        str, typer.Option(help="dsc, nsd or hd95 on the validation cases; or two, such as dsc,hd95, for a Pareto front.")
    ] = "dsc"
    sampler: Annotated[
        SamplerChoice | None,
        typer.Option(
            help="How trials are drawn; random: an unbiased curve of the best.  [default: tpe; of two objectives nsga2]"
        ),
    ] = None
    n_startup: Annotated[int, typer.Option("--n-startup", min=1, help="Trials that tpe draws at random first.")] = 10
    pruner: Annotated[
        PrunerChoice, typer.Option(help="Ends trials early that lag behind; the steps saved go to further trials.")
    ] = PrunerChoice.none
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start", help="Begin with the best values found at these budgets or datasets, e.g. 3,acdc.", metavar="LIST"
        ),
    ] = None
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL.  [default: a journal file in the store]")] = None
