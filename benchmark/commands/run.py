"""``run``: train and test methods at label budgets."""

from functools import partial
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import out, wrote
from benchmark.commands.groups import Finished, Runs, Where
from benchmark.commands.options import ConfigOption, PluginOption
from benchmark.commands.sessions import carry_out, session_of


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark run --methods cctr,cps --labels 1,3,7`\n\n"
    "`python -m benchmark run --dataset acdc --data ~/ACDC --methods supervised,'cctr[rsl=false]' --labels 3,all --protocol desk`\n\n"
    "`python -m benchmark run --config experiments/acdc_gpu.yaml --labels 1`"
)
def run(
    *,
    methods: Annotated[
        str, typer.Option(help="Comma list: name or name[param=value,...], or all; see `ls methods`.")
    ] = "supervised,cps,cctr",
    asked: Runs,
    hparams: Annotated[
        str,
        typer.Option(
            help="published values, or tuned: the best that `tune` found for each method and budget; tuned:hd95: for an objective."
        ),
    ] = "published",
    where: Where,
    system_metrics: Annotated[
        bool, typer.Option("--system-metrics", help="Track the machine's load, too (CPU, memory, disk, GPU).")
    ] = False,
    register: Annotated[
        str | None, typer.Option(help="Register the network that does best on the validation cases as this MLflow model.")
    ] = None,
    finished: Finished,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Train and test every method at every budget; stop and repeat the command to continue."""
    from benchmark.study import grid
    from benchmark.study.tuned import parse_hparams, tuned

    use_tuned, objective = parse_hparams(hparams)
    session = session_of(asked, partial(grid.parse_methods, methods), where, finished)
    if use_tuned:
        session.replace(tuned(session.cells, session.store, objective))
    session.system_metrics = system_metrics
    failed = carry_out(session, finished.dry_run)
    if register:
        session.register(register)
    from reports.tables.leaderboard_forms import to_terminal

    table, files = session.report()
    out.print(to_terminal(table))
    wrote(files)
    if failed:
        raise typer.Exit(1)
