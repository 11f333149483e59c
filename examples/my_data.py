"""A dataset of one's own in a file: python -m benchmark check --plugin examples/my_data.py --data FOLDER"""

from pathlib import Path

from datasets import BadInput, FileDataset, LabelMap, Source, Split, register


@register("my_data")
class MyData(FileDataset):
    """Folders ``train`` and ``test`` of ``NAME.nii.gz`` with ``NAME_organ.nii.gz``; the third of the training cases validates."""

    labels = LabelMap(("background", "organ"))
    source = "name the folder that holds train and test"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        if path is None:
            raise BadInput(f"dataset my_data needs --data FOLDER; {self.source}")
        self.folder, self.files = path, {}
        found: dict[str, list[str]] = {"train": [], "test": []}
        for use, cases in found.items():
            for mask in sorted((path / use).glob("*_organ.nii.gz")):
                name = mask.name.removesuffix("_organ.nii.gz")
                self.files[name] = {name: Source((mask.with_name(f"{name}.nii.gz"),), mask)}
                cases.append(name)
        if len(found["train"]) < 3 or not found["test"]:
            raise BadInput(f"{path} holds {found}; expected three cases in train and one in test; complete the folder")
        train = found["train"]
        self._split = Split(tuple(train[:2] + train[3:]), (train[2],), {"test": tuple(found["test"])})

    @property
    def split(self) -> Split:
        """By folder."""
        return self._split
