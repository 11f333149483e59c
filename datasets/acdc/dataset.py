"""ACDC: short-axis cardiac MR of 150 patients at end-diastole and end-systole; the h5 layout of SSL4MIS or the official download.

Bernard et al., IEEE TMI 37(11), 2018. The split of patients 001-100 (70 train, 10 validation, 20 test) is that of the field,
github.com/HiLab-git/SSL4MIS, in both layouts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.acdc.layout import Layout
from datasets.acdc.official import OfficialACDC
from datasets.acdc.slices import SlicesACDC


@register("acdc")
class ACDC(Layout):
    """Chooses: ``ACDC(path)`` is an ``OfficialACDC`` where ``path`` holds a folder ``training``, else a ``SlicesACDC``.

    Raises:
        BadInput: no path, or what the layout's class raises.
    """

    def __new__(cls, path: Path | None = None) -> Any:  # of a layout's class, which is none of this one
        """The dataset of the layout that lies in ``path``."""
        if path is None:
            raise BadInput(f"dataset acdc needs --data FOLDER; {cls.source}")
        return OfficialACDC(path) if (path / "training").is_dir() else SlicesACDC(path)
