"""Left atria (LA, MICCAI 2018) and pancreases (Pancreas-CT) in the h5 layout of UA-MT, DTC, MC-Net and BCP: a cropped scan a file.

``train.list`` and ``test.list`` hold a name per line; the file of a name is ``NAME/mri_norm2.h5``, ``NAME_norm.h5`` or ``NAME.h5``, in the
folder of the lists or in ``2018LA_Seg_Training Set``, ``Pancreas_h5`` or ``data``. Arrays ``image`` and ``label`` have axes x, y, z; the
intensities are z-scores, which are scaled between percentiles of the scan. Yu et al., MICCAI 2019, github.com/yulequan/UA-MT.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from benchmark.ground.errors import BadInput
from benchmark.ground.registry import register
from datasets.dataset import Dataset, Split, Volume
from datasets.readers import hash_files, read_h5, read_names
from datasets.reading import Reading
from datasets.volumes import PERCENTILES, scaled

HOMES = ("", "2018LA_Seg_Training Set", "Pancreas_h5", "data")
NAMES = ("{}/mri_norm2.h5", "{}_norm.h5", "{}.h5", "{}")
SPACING = (1.0, 1.0, 1.0)


class CroppedScans(Dataset):
    """What both have in common. No spacing is stored: distances are in voxels. Without val.list, nothing validates.

    path: the folder of the lists.

    Raises:
        BadInput: no path, no list, or a name without a file; later, a file breaks a rule.
    """

    channels = 1
    spacing_known = False
    facts = ("slices along z (foot to head), spacing not stored",)

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset {self.name} needs --data FOLDER; {self.source}")
        if missing := [name for name in ("train.list", "test.list") if not os.path.isfile(path / name)]:
            raise BadInput(f"{path} has no {' and no '.join(missing)}; expected lists of the scans; {self.source}")
        self.folder = path
        lists = {
            use: read_names(path / f"{use}.list") for use in ("train", "val", "test") if os.path.isfile(path / f"{use}.list")
        }
        self.files = {name: self._file(name, use) for use, names in lists.items() for name in names}
        self._split = Split(tuple(lists["train"]), tuple(lists.get("val", ())), {"test": tuple(lists["test"])})

    def _file(self, name: str, use: str) -> Path:
        places = [self.folder / home / form.format(name) for home in HOMES for form in NAMES]
        found = next((place for place in places if os.path.isfile(place)), None)
        if found is None or not Path(os.path.normpath(found)).is_relative_to(os.path.normpath(self.folder)):
            raise BadInput(
                f"{self.folder / f'{use}.list'}: {name} has no file; expected {NAMES[0].format(name)} or {NAMES[1].format(name)} beside"
                " the lists; complete the dataset or correct the list"
            )
        return found

    @property
    def split(self) -> Split:
        """The lists' cases, in their order; the one test set is called ``test``."""
        return self._split

    @property
    def reading(self) -> Reading:
        """New scans in h5 files like these."""
        return Reading(windows=(None,), percentiles=PERCENTILES, values=tuple(range(len(self.classes))), arrays="xyz")

    def read(self, case: str, labels: bool) -> tuple[Volume, ...]:
        """The case's one volume; see ``Dataset.read``."""
        path = self.files[case]
        image, label = read_h5(path, len(self.classes), labels)
        if image.ndim != 3:
            raise BadInput(f"{path}: the image has shape {image.shape}; expected 3 axes; replace the file")
        channel = scaled(image.transpose(2, 1, 0), None)
        mask = None if label is None else label.transpose(2, 1, 0).copy()
        return (Volume(case, case, channel[None], mask, SPACING, spacing_known=False),)

    def content_hash(self) -> str:
        """Hash of the lists and of every file that they name; computed once."""
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        lists = [path for use in ("train", "val", "test") if (path := self.folder / f"{use}.list").is_file()]
        return hash_files(self.folder, {*lists, *self.files.values()})


@register("la")
class LeftAtrium(CroppedScans):
    """Left atria in late gadolinium-enhanced MR; the split in use is 80 training and 20 test scans."""

    classes = ("background", "left atrium")
    source = "download the h5 files that github.com/yulequan/UA-MT links to and name the folder of train.list and test.list"


@register("pancreas")
class Pancreas(CroppedScans):
    """Pancreas-CT (NIH) as DTC and BCP prepare it; the split in use is 62 training and 20 test scans."""

    classes = ("background", "pancreas")
    source = (
        "download the h5 files that github.com/DeepMed-Lab-ECNU/BCP links to and name the folder of train.list and test.list"
    )
