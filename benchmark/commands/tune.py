"""``tune``: search hyper-parameters, equally for every method."""

from enum import StrEnum
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import command_line, err, out, stoppable, wrote
from benchmark.commands.groups import Task, Where
from benchmark.commands.options import ConfigOption, PluginOption
from benchmark.commands.sessions import opener, site_of


class SamplerChoice(StrEnum):
    """How trials are drawn."""

    tpe = "tpe"
    random = "random"


class PrunerChoice(StrEnum):
    """Whether trials end early."""

    none = "none"
    median = "median"


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark tune --methods cctr,cps,supervised --labels 1,3,7 --trials 20`\n\n"
    "`python -m benchmark run --methods cctr,cps,supervised --labels 1,3,7 --hparams tuned`"
)
def tune(
    *,
    methods: Annotated[str, typer.Option(help="Comma list: name or name[param=value,...]; what has a value is fixed.")] = (
        "supervised,cps,cctr"
    ),
    trials: Annotated[
        int, typer.Option(min=1, help="Trials of each method at each budget; the first has the published values.")
    ] = 20,
    asked: Task,
    sampler: Annotated[
        SamplerChoice, typer.Option(help="How trials are drawn; random ones give an unbiased curve of the expected best.")
    ] = SamplerChoice.tpe,
    pruner: Annotated[
        PrunerChoice, typer.Option(help="median ends trials early that lag behind; the steps saved go to further trials.")
    ] = PrunerChoice.none,
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL.  [default: a journal file in the store]")] = None,
    where: Where,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Search hyper-parameters on the validation cases, with the same number of trials for every method; resumes."""
    from benchmark.ground.registry import check_name
    from benchmark.ground.rules import get_protocol
    from benchmark.study import grid

    protocol = get_protocol(asked.protocol)
    check_name("datasets", asked.dataset)
    site = site_of(where)
    selections = grid.parse_methods(methods)

    from benchmark.records.store import Store
    from benchmark.records.table import collect
    from benchmark.study.preparation import prepare_shown
    from benchmark.study.spaces import search_space
    from benchmark.study.tuning import Search, Tuner
    from benchmark.study.tuning import tune as search
    from datasets.prepared import open_dataset
    from reports.tables.tuning import studies_of, to_terminal, trials_of
    from reports.writing.tuning import write_tuning

    opened, root = open_dataset(asked.dataset, asked.data), Store(where.store)
    budgets = grid.parse_labels(asked.labels, len(opened.split.train))
    spaces = [search_space(selection, budget) for budget in budgets for selection in selections]
    begin = opener(where, site)
    prepare_shown(asked.dataset, asked.data, root, err)
    how = Search(trials, sampler.value, pruner.value, storage)
    tuner = Tuner(opened, spaces, protocol, how, root, command_line())
    with stoppable():
        search(tuner, lambda cells: begin(cells).run())
    records = collect(root)
    found = trials_of(records)
    out.print(to_terminal(studies_of(found[found["study"].isin(tuner.names())])))
    wrote(write_tuning(records, root.report / "tuning")[0])
