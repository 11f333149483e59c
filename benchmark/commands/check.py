"""``check``: whether methods keep the laws of the benchmark."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import out
from benchmark.commands.options import (
    PluginOption,
)


@command(epilog="Examples:\n\n`python -m benchmark check --methods all`\n\n`python -m benchmark check --plugin my_method.py`")
def check(
    methods: Annotated[
        str | None, typer.Option(help="Comma list of names, or all.  [default: the plug-ins' methods, else all]")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Check that methods keep the laws of the benchmark, on a made-up task; exit code 1 where one does not."""
    import time

    from benchmark.ground import registry
    from benchmark.ground.grammar import split_list

    known = registry.entries("methods")
    mine = [name for name, entry in known.items() if plugin and entry.plugin]
    names = list(known) if methods == "all" else split_list(methods) if methods else mine or list(known)
    classes = {name: registry.load("methods", name) for name in names}

    from benchmark.conformance import check as laws_of
    from benchmark.ground.environment import one_thread

    one_thread()
    broken = 0
    for name, method in classes.items():
        began = time.monotonic()
        results = list(laws_of(method))
        problems = [result for result in results if result.problem]
        broken += bool(problems)
        verdict = "[red]breaks[/]" if problems else "[green]keeps[/]"
        count = f"{len(problems)} of {len(results)}" if problems else str(len(results))
        out.print(f"{name} {verdict} {count} laws  {time.monotonic() - began:.1f} s", highlight=False, soft_wrap=True)
        for result in problems:
            out.print(f"  law: {result.law}\n    {result.problem}", highlight=False, markup=False, soft_wrap=True)
    if broken:
        raise typer.Exit(1)
