"""``check``: whether methods and datasets keep the laws of the benchmark."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import out
from benchmark.commands.options import DataOption, PluginOption

if TYPE_CHECKING:
    from benchmark.conformance import Result


@command(
    epilog="Examples:\n\n`python -m benchmark check --methods all`\n\n`python -m benchmark check --plugin my_method.py`\n\n"
    "`python -m benchmark check --plugin my_data.py --data ~/scans`"
)
def check(
    methods: Annotated[
        str | None, typer.Option(help="Comma list of names, or all.  [default: the plug-ins' methods, else all]")
    ] = None,
    data: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check that methods, on a made-up task, and plug-ins' datasets, on --data, keep the laws; exit code 1 where one does not."""
    import time

    from benchmark.ground import registry
    from benchmark.ground.grammar import split_list

    known = registry.entries("methods")
    mine = [name for name, entry in known.items() if plugin and entry.plugin]
    own = [name for name, entry in registry.entries("datasets").items() if plugin and entry.plugin]
    names = list(known) if methods == "all" else split_list(methods) if methods else mine or ([] if own else list(known))
    classes = {name: registry.load("methods", name) for name in names}

    from benchmark.conformance import check as laws_of
    from benchmark.conformance.data import try_laws
    from benchmark.ground.environment import one_thread

    one_thread()
    broken = 0
    trials: dict[str, Callable[[], Iterable[Result]]] = {name: partial(laws_of, cls) for name, cls in classes.items()}
    trials |= {name: partial(try_laws, registry.load("datasets", name), data) for name in own}
    for name, trial in trials.items():
        began = time.monotonic()
        results = list(trial())
        problems = [result for result in results if result.problem]
        broken += bool(problems)
        verdict = "[red]breaks[/]" if problems else "[green]keeps[/]"
        count = f"{len(problems)} of {len(results)}" if problems else str(len(results))
        out.print(f"{name} {verdict} {count} laws  {time.monotonic() - began:.1f} s", highlight=False, soft_wrap=True)
        for result in problems:
            out.print(f"  law: {result.law}\n    {result.problem}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)
