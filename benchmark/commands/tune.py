"""``tune``: search hyper-parameters, equally for every method."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import command_line, err, stoppable
from benchmark.commands.found import tell_of_tuning
from benchmark.commands.groups import Task, Where
from benchmark.commands.options import ConfigOption, PluginOption
from benchmark.commands.sessions import opener, site_of


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
    """How is searched, and for what."""

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


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark tune --methods cctr,cps,supervised --labels 1,3,7 --trials 20`\n\n"
    "`python -m benchmark tune --methods cps --labels 1,3 --objective dsc,hd95 --timeout 8h --transfer`\n\n"
    "`python -m benchmark run --methods cctr,cps,supervised --labels 1,3,7 --hparams tuned`"
)
def tune(
    *,
    methods: Annotated[str, typer.Option(help="Comma list: name or name[param=value,...]; what has a value is fixed.")] = (
        "supervised,cps,cctr"
    ),
    asked: Task,
    how: How,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Then try each budget's best values at the other budgets.")
    ] = False,
    where: Where,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Search hyper-parameters on the validation cases, with the same number of trials for every method; resumes."""
    from benchmark.ground.registry import check_name
    from benchmark.ground.rules import get_protocol
    from benchmark.ground.stopping import parse_time, time_limit
    from benchmark.study import grid
    from benchmark.study.studies import Sampler
    from benchmark.study.tuned import parse_objectives, parse_starts, warm_starts
    from benchmark.study.tuning import Search, Tuner
    from benchmark.study.tuning import tune as search

    protocol = get_protocol(asked.protocol)
    check_name("datasets", asked.dataset)
    objectives = parse_objectives(how.objective)
    sampler: Sampler = how.sampler.value if how.sampler else "nsga2" if len(objectives) > 1 else "tpe"
    starts = parse_starts(how.warm_start)
    chosen = Search(how.trials, sampler, how.pruner.value, how.storage, objectives, how.n_startup, starts)
    chosen.check(protocol)
    seconds = parse_time("--timeout", how.timeout) if how.timeout else None
    site = site_of(where)
    selections = grid.parse_methods(methods)

    from benchmark.records.store import Store
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.spaces import search_space
    from datasets.prepared import open_dataset

    opened, root = open_dataset(asked.dataset, asked.data), Store(where.store)
    budgets = grid.parse_labels(asked.labels, len(opened.split.train))
    spaces = [search_space(selection, budget) for budget in budgets for selection in selections]
    begin = opener(where, site)
    prepare_shown(asked.dataset, asked.data, root, err)
    given = warm_starts(spaces, starts, asked.dataset, protocol, root)
    tuner = Tuner(opened, spaces, protocol, chosen, root, command_line(), given)
    with stoppable(), time_limit(seconds) as over:
        search(tuner, lambda cells: begin(cells).run(), over)
        if transfer and not over() and (cells := tuner.transfers()):
            begin(cells).run()
    tell_of_tuning(tuner, begin([]), over())
