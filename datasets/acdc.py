"""ACDC: short-axis cardiac MR of 150 patients at end-diastole and end-systole; the h5 layout of SSL4MIS or the official download.

Bernard et al., IEEE TMI 37(11), 2018. The split of patients 001-100 (70 train, 10 validation, 20 test) is that of the field,
github.com/HiLab-git/SSL4MIS, in both layouts.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset

GROUPS = ("dilated", "hypertrophic", "infarction", "normal", "right ventricle")
"""Pathologies of patients 001-020, 021-040, 041-060, 061-080 and 081-100 (Info.cfg of the official download)."""


@register("acdc")
class ACDC(Dataset):
    """What both layouts share; ``ACDC(path)`` is the one that lies in ``path``.

    Raises:
        BadInput: no path.
    """

    classes = ("background", "right ventricle", "myocardium", "left ventricle")
    channels = 1
    source = (
        "download the h5 files that github.com/HiLab-git/SSL4MIS links to and name the folder of train_slices.list, or register at"
        " www.creatis.insa-lyon.fr/Challenge/acdc and name the folder that holds training/patient001 (licence CC BY-NC-SA 4.0)"
    )

    def __new__(cls, path: Path | None = None) -> ACDC:
        """An instance of the layout's class."""
        from datasets.acdc_official import OfficialACDC
        from datasets.acdc_slices import SlicesACDC

        if path is None:
            raise BadInput(f"dataset acdc needs --data FOLDER; {cls.source}")
        return super().__new__(OfficialACDC if (path / "training").is_dir() else SlicesACDC)
