"""The interface that every method implements, and what the harness hands it.

A method sees images, labelled masks and where its pixels came from; never an unlabelled mask, the test set or the file system.
The harness owns the loop, the optimiser, the schedule, checkpoints, evaluation and logging.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from benchmark.ground.protocol import Protocol
from datasets.dataset import Volume
from datasets.slices import Batch, SliceBank
from methods.networks.network import Network
from methods.networks.unet import UNet

if TYPE_CHECKING:
    from datasets.registration import Candidate, Recipe, Registrations


def tunable(
    default: Any,
    *,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    minimum: float = 0.0,
    maximum: float = math.inf,
    probe: float | None = None,
) -> Any:
    """A hyper-parameter that `tune` searches; its default is the published value.

    A number (float or int) has the search space ``low``..``high`` and is refused outside minimum..maximum; a bool or a Literal has none of
    these and is searched over all its values.

    probe: where the default keeps a term at zero until the network is sure of itself, a value with which it is above zero at once.
    """
    if low is None and high is None:
        return Field(default, description=doc, json_schema_extra={"search": {}})
    extra: dict[str, Any] = {"search": {"low": low, "high": high, "log": log}}
    if probe is not None:
        extra["probe"] = probe
    limit = None if maximum == math.inf else maximum
    return Field(default, ge=minimum, le=limit, description=doc, json_schema_extra=extra)


@dataclass(frozen=True)
class Step:
    """Where training stands: ``index`` counts from 0, ``total`` is the protocol's number of steps."""

    index: int
    total: int

    @property
    def fraction(self) -> float:
        """Part of training that is done, 0 at the first step."""
        return self.index / self.total

    @property
    def ramp(self) -> float:
        """Gaussian ramp-up exp(-5 (1 - t/T)^2) of Laine & Aila (ICLR 2017), 1 at the end of training."""
        return math.exp(-5 * (1 - self.fraction) ** 2)


@dataclass(frozen=True)
class Task:
    """What a method is built for: the number of classes and channels, the slices, the networks of the protocol, registrations."""

    classes: int
    channels: int
    protocol: Protocol
    bank: SliceBank
    registrations: Callable[[Recipe], Registrations]
    """Registrations of the labelled volumes to all training volumes, by kind of transform and similarity."""
    register: Callable[[Volume, Recipe], list[Candidate]]
    """The labelled volumes of the task (``source`` counts those alone) registered to any other volume, best similarity first."""

    def unet(self) -> UNet:
        """A freshly initialised 2-D U-Net of the protocol's size."""
        p = self.protocol
        return UNet(self.channels, self.classes, p.unet_widths, p.unet_dropout)

    def swin_unet(self) -> Network:
        """A freshly initialised 2-D Swin-UNet of the protocol's size."""
        from methods.networks.swin_unet import SwinUNet  # MONAI takes three seconds to import

        s = self.protocol.swin
        return SwinUNet(self.channels, self.classes, s.embed, s.depths, s.heads, s.window, s.patch)


class Segmenter(nn.Module, ABC):
    """What methods with and without training share: a name, hyper-parameters (published values as defaults), the task."""

    name: ClassVar[str]
    probe: ClassVar[dict[str, float]] = {}
    """For checks and timing: hparams with which every term is there at any step."""

    class Hparams(BaseModel):
        """Typed, documented hyper-parameters; unknown names and values out of range are refused."""

        model_config = ConfigDict(frozen=True, extra="forbid")
        weights: ClassVar[tuple[str, ...]] = ()
        """The hparams that weigh the method's own terms: with all of them at 0 it is ``supervised``, to the bit."""

        @property
        def learns_more(self) -> bool:
            """Whether a term of the method's own has a weight above 0."""
            return any(getattr(self, name) > 0 for name in self.weights)

        @property
        def needs_unlabelled(self) -> bool:
            """Whether any term looks at unlabelled slices."""
            return self.learns_more

        @property
        def registration_recipe(self) -> Recipe | None:
            """The registrations that these hparams need between training volumes, or None."""
            return None

        @property
        def used_recipe(self) -> Recipe | None:
            """The registrations that a cell with these hparams uses for anything, or None."""
            return self.registration_recipe

    def __init__(self, task: Task, hparams: Hparams) -> None:
        super().__init__()
        self.task = task
        self.hp: Any = hparams
        self.build(task)

    @property
    def effective(self) -> dict[str, float]:
        """Hparams that the length of training turns into other values, as they are used; the record shows them."""
        return {}

    @abstractmethod
    def build(self, task: Task) -> None:
        """Create networks and buffers as attributes, from torch's global generator; the reported network first."""


class Propagator(Segmenter):
    """A method without training: it gets no steps, and whole volumes to segment."""

    @abstractmethod
    def segment(self, volume: Volume) -> dict[str, Tensor]:
        """Classes (D, H, W) uint8 of a volume, whose mask is withheld, by name; the first entry is the reported one."""


class Method(Segmenter):
    """A semi-supervised learner. All of its state lives in its ``state_dict``, so that a checkpoint is exact.

    Subclasses define ``Hparams``, ``build``, ``losses`` and ``predictions``.
    """

    class Hparams(Segmenter.Hparams):
        """What every method that trains may be tuned in."""

        learning_rate: float = tunable(
            1,
            low=0.2,
            high=5,
            log=True,
            minimum=1e-3,
            doc="factor on the protocol's learning rate",
        )

    scale: ClassVar[float] = 1.0
    """Factor of the published sum of terms, the supervised one included."""

    reach: ClassVar[dict[str, tuple[str, ...]]] = {}
    """For ``check``: the networks, by attribute, that a term teaches, where that is not each network it went through."""

    @property
    def augmentation(self) -> Literal["weak", "strong"]:
        """Of the batches that it sees: the protocol's."""
        return self.task.protocol.augmentation

    @abstractmethod
    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        """Named, weighted terms (scalars); the harness adds, logs and differentiates them.

        The reported network runs first, on the labelled slices alone when no term needs the unlabelled ones: a method whose
        extra weights are 0 is then ``supervised``, to the bit.
        """

    def after_step(self, step: Step) -> None:
        """Called after the optimiser's step ``step``, e.g. for a moving average."""

    @abstractmethod
    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        """Class probabilities (N, K, P, P) of each network for images (N, C, P, P); the first entry is the reported one."""


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
