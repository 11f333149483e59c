"""``tune``: search hyper-parameters, equally for every method."""

from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import command_line, err, stoppable
from benchmark.commands.found import tell_of_tuning
from benchmark.commands.groups import Task, Where
from benchmark.commands.options import ConfigOption, PluginOption
from benchmark.commands.rules import rules_of
from benchmark.commands.searching import How
from benchmark.commands.sessions import opener, site_of


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
    from benchmark.ground.stopping import parse_time, time_limit

    site = site_of(where)
    protocol = rules_of(asked.protocol, asked.precision, site)
    check_name("datasets", asked.dataset)
    seconds = parse_time("--timeout", how.timeout) if how.timeout is not None else None

    from benchmark.study import grid
    from benchmark.study.studies import Sampler
    from benchmark.study.tuned import parse_objectives, parse_starts, warm_starts
    from benchmark.study.tuning import Search, Tuner
    from benchmark.study.tuning import tune as search

    objectives = parse_objectives(how.objective)
    sampler: Sampler = how.sampler.value if how.sampler else "nsga2" if len(objectives) > 1 else "tpe"
    starts = parse_starts(how.warm_start)
    chosen = Search(how.trials, sampler, how.pruner.value, how.storage, objectives, how.n_startup, starts)
    chosen.check(protocol)
    selections = grid.parse_methods(methods)

    from benchmark.records.identity import Cell
    from benchmark.records.store import Store
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.spaces import search_space
    from datasets.preparing import open_dataset

    opened, root = open_dataset(asked.dataset, asked.data), Store(where.store)
    budgets = grid.parse_labels(asked.labels, len(opened.split.train))
    spaces = [search_space(selection, budget) for budget in budgets for selection in selections]
    begin = opener(where, site)
    prepare_shown(asked.dataset, asked.data, root, err)
    given = warm_starts(spaces, starts, asked.dataset, protocol, root)
    tuner = Tuner(opened, spaces, protocol, chosen, root, command_line(), given)

    def run(cells: list[Cell]) -> int:
        session = begin(cells)
        session.hear = tuner.hear
        return session.run()

    with stoppable(), time_limit(seconds) as over:
        search(tuner, run, over)
        if transfer and not over() and (cells := tuner.transfers()):
            begin(cells).run()
    tell_of_tuning(tuner, begin([]), over())
