"""``ablate``: the full factorial of a method's parts."""

from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import out, wrote
from benchmark.commands.groups import Finished, Runs, Where
from benchmark.commands.options import ConfigOption, PluginOption
from benchmark.commands.sessions import carry_out, session_of


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark ablate --method cctr --factors rsl,reps --labels 1,3,7 --runs 3`\n\n"
    "`python -m benchmark ablate --method 'cctr[reps=false]' --factors 'registration=identity|affine|deformable' --labels 1`"
)
def ablate(
    *,
    method: Annotated[str, typer.Option(help="The method: name or name[param=value,...].")] = "cctr",
    factors: Annotated[
        str, typer.Option(help="Comma list: a switch, or name=LEVEL|LEVEL..., baseline first; any hparam of the method.")
    ] = "rsl,reps",
    asked: Runs,
    where: Where,
    finished: Finished,
    plugin: PluginOption = None,
    config: ConfigOption = None,
) -> None:
    """Run the full factorial of a method's parts; report what each adds and how they interact."""
    from benchmark.records.ablations import Ablation, remember
    from benchmark.records.folds import in_folds
    from benchmark.study.ablation import parse_design

    design, selections = parse_design(method, factors)
    session = session_of(asked, lambda: selections, where, finished)
    failed = carry_out(session, finished.dry_run)
    first = session.cells[0]
    mine = Ablation(
        in_folds(first.dataset, first.fold[1]) if first.fold else first.dataset, session.cells[0].protocol.name, design
    )
    remember(mine, session.store)
    from reports.tables import ablation, leaderboard_forms
    from reports.writing.ablation import write_ablation

    table, _ = session.report()
    records = session.records()
    files, _ = write_ablation(records, design, session.store.report / "ablation" / mine.folder)
    out.print(leaderboard_forms.to_terminal(table))
    effects = ablation.effects(records, design)
    out.print(ablation.to_terminal(effects, design, ablation.unit_of(records)))
    wrote(files)
    session.track_summary(session.cells[0].command, files, metrics=ablation.by_name(effects))
    if failed:
        raise typer.Exit(1)
