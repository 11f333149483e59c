"""``new``: a method of one's own, begun."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import out
from benchmark.ground.errors import BadInput, quoted


class Kind(StrEnum):
    """What ``new`` can begin."""

    method = "method"


TEMPLATE = '''"""{title}: what it is in a sentence, with its paper (authors, venue, year).

It runs as it is: consistency of the prediction with that for a mirrored slice. Change what is marked; docs/plugins.md says more.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from datasets import Batch
from methods import OneNetwork, Step, View, register, tunable


@register("{name}")
class {title}(OneNetwork):
    """L = L_sup + w(t) consistency(p(mirrored), sharpened mirrored p) on unlabelled slices."""

    class Hparams(OneNetwork.Hparams):
        # What `tune` may search, with published values as defaults. With all of `weights` at 0 the method is `supervised`, to the bit.
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=10, log=True, doc="ceiling of the consistency weight")
        power: int = tunable(1, low=1, high=4, minimum=1, doc="exponent that sharpens the target")
        distance: Literal["mse", "cross_entropy"] = tunable("mse", doc="how the two are compared")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        # Your terms, by name and weighted. A batch has labelled slices first, then unlabelled ones: images (N, C, P, P); `view` is what
        # the network made of all of them. `step.ramp` grows from 0 to 1 over training.
        target = view.probabilities.detach().flip(-1) ** self.hp.power
        target = target / target.sum(1, keepdim=True)
        logits = self.network(batch.image[batch.labelled :].flip(-1))
        if self.hp.distance == "mse":
            distance = F.mse_loss(torch.softmax(logits, 1), target)
        else:
            distance = F.cross_entropy(logits, target)
        return {{"consistency": self.hp.consistency * step.ramp * distance}}
'''


@command(
    epilog="Examples:\n\n`python -m benchmark new method my_method.py`\n\n`python -m benchmark check --plugin my_method.py`",
)
def new(
    kind: Annotated[Kind, typer.Argument(help="What to begin.")],
    file: Annotated[Path, typer.Argument(help="The file to write; its name becomes the method's.")],
) -> None:
    """Write a method that runs and keeps the laws, with comments on what to change."""
    from benchmark.ground.registry import built_ins

    name = file.stem
    if file.suffix != ".py" or not name.isidentifier() or not name.isascii():
        raise BadInput(f"new: {quoted(file.name)} cannot be the file of a method; expected a name such as my_method.py")
    if name in built_ins("methods"):
        raise BadInput(f"new: {name} is a method already; choose another name")
    if not file.parent.is_dir():
        raise BadInput(f"new: there is no folder {file.parent}; expected one that is there")
    title = "".join(part[:1].upper() + part[1:] for part in name.split("_")) or "Mine"
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(TEMPLATE.format(name=name, title=title))
    except FileExistsError:
        raise BadInput(f"new: {file} is there already; choose another name, or move it away") from None
    out.print(f"wrote {file}; next: python -m benchmark check --plugin {file}", highlight=False, markup=False, soft_wrap=True)
