"""Options that name the finished cell whose networks are to be used."""

from typing import Annotated

import typer

CellOption = Annotated[str | None, typer.Option(help="The id of a finished cell; see `ls cells`.")]
BestOption = Annotated[bool, typer.Option("--best", help="The finished cell that does best on the validation cases.")]
EnsembleOption = Annotated[
    bool, typer.Option("--ensemble", help="Average over all finished runs of the cell's variant with as many labels.")
]
