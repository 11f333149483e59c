"""Semi-supervised segmentation methods behind one interface, and what a method of your own is made of: ``from methods import ...``.

``register`` makes a class known. ``Method`` is the interface, ``Propagator`` that of methods without training; ``Task``, ``Step`` and
``tunable`` belong to it. ``OneNetwork``, ``WithTeacher`` and ``CoTraining`` are bases with the supervised terms; ``View`` and ``Views``
are what their networks make of a batch. ``supervised_loss`` is every method's loss on labelled slices. A method to build on is imported
from its own file, as is any other part.
"""

from typing import TYPE_CHECKING

from benchmark.ground.door import door

if TYPE_CHECKING:
    from benchmark.ground.registry import register
    from methods.bases.co_training import CoTraining, Views
    from methods.bases.one_network import OneNetwork, View, WithTeacher
    from methods.method import Method, Propagator, Step, Task, tunable
    from methods.parts.losses import supervised_loss
else:
    __getattr__, __dir__ = door(__name__)
