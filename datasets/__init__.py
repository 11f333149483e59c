"""Datasets behind one interface, slices for training, and registration; what plug-ins and notebooks need: ``from datasets import ...``.

``register`` makes a class known. ``Dataset`` is the interface, ``Volume`` and ``Split`` are what it returns and ``BadInput`` is what it
raises; ``FileDataset`` is one whose volumes are image files, each a ``Source``, with classes by a ``LabelMap``; ``read_volume`` reads
one of them and ``hash_files`` any. ``open_dataset`` gives a dataset by name. Methods see a ``Batch``, whose
labels may hold ``IGNORE``, and name registrations by a ``Recipe``.
"""

from typing import TYPE_CHECKING

from benchmark.ground.door import door

if TYPE_CHECKING:
    from benchmark.ground.errors import BadInput
    from benchmark.ground.registry import register
    from datasets.classes import LabelMap
    from datasets.dataset import Dataset, Split, Volume
    from datasets.preparing import open_dataset
    from datasets.readers import hash_files
    from datasets.registration import Recipe
    from datasets.slices import IGNORE, Batch
    from datasets.volumes import FileDataset, Source, read_volume
else:
    __getattr__, __dir__ = door(__name__)
