"""What both layouts of ACDC share."""

from __future__ import annotations

from datasets.dataset import Dataset

GROUPS = ("dilated", "hypertrophic", "infarction", "normal", "right ventricle")
"""Pathologies of patients 001-020, 021-040, 041-060, 061-080 and 081-100 (Info.cfg of the official download)."""


class Layout(Dataset):
    """ACDC, wherever its files lie: name, classes and source."""

    name = "acdc"
    classes = ("background", "right ventricle", "myocardium", "left ventricle")
    channels = 1
    licence = "CC BY-NC-SA 4.0"
    source = (
        "download the h5 files that github.com/HiLab-git/SSL4MIS links to and name the folder of train_slices.list, or register at"
        " www.creatis.insa-lyon.fr/Challenge/acdc and name the folder that holds training/patient001 (licence CC BY-NC-SA 4.0)"
    )
