"""What to run, running it, and keeping what came out. From Python: ``benchmark.run`` runs a grid, ``benchmark.open`` reads a store, as
``Runs`` with tables of pandas; what is wrong is ``BadInput``, with the sentence that the command line has for it.
"""

from typing import TYPE_CHECKING

from benchmark.ground.door import door

if TYPE_CHECKING:
    from benchmark.ground.errors import BadInput
    from benchmark.interface import Runs, open, run
else:
    __getattr__, __dir__ = door(__name__)
