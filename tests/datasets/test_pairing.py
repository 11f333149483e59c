"""Which mask belongs to which image, by names alone."""

from pathlib import Path

import pytest

from benchmark.ground.errors import BadInput
from datasets.pairing import pair_folders


def paired(
    root: Path, images: list[str], masks: list[str], channels: int | None = None
) -> dict[str, tuple[list[str], str | None]]:
    for folder, names in (("images", images), ("masks", masks)):
        (root / folder).mkdir()
        for name in names:
            (root / folder / name).touch()
    found = pair_folders(root / "images", root / "masks", channels)
    return {case: ([p.name for p in s.images], s.label.name if s.label else None) for case, s in found.sources.items()}


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["a.nii.gz"], ["a.nii"], {"a": "a.nii"}),
        (["A.NII.GZ"], ["a.nii.gz"], {"A": "a.nii.gz"}),
        (["a_image.nii", "b_image.nii"], ["a_label.nii", "b_label.nii"], {"a_image": "a_label.nii", "b_image": "b_label.nii"}),
        (["img1.nii", "img02.nii"], ["label0001.nii", "label0002.nii"], {"img1": "label0001.nii", "img02": "label0002.nii"}),
        (["a.nii", "img2.nii"], ["a.nii", "label2.nii"], {"a": "a.nii", "img2": None}),
        (["x1.nii", "y2.nii"], ["m1.nii", "m2.nii"], {"x1": None, "y2": None}),
        (["a.nii", "A.nii"], ["a_seg.nii"], {"a": None, "A": None}),
        (["case_0001.nii", "case_0002.nii"], ["case_0001.nii"], {"case_0001": "case_0001.nii", "case_0002": None}),
    ],
)
def test_names_decide_where_one_meaning_is_possible(images: list, masks: list, expected: dict, tmp_path: Path) -> None:
    assert {case: mask for case, (_, mask) in paired(tmp_path, images, masks).items()} == expected


def test_files_of_channels_are_one_case(tmp_path: Path) -> None:
    found = paired(tmp_path, ["a_0001.nii", "a_0000.nii", "b_0000.nii", "b_0001.nii"], ["a.nii"])
    assert found == {"a": (["a_0000.nii", "a_0001.nii"], "a.nii"), "b": (["b_0000.nii", "b_0001.nii"], None)}


@pytest.mark.parametrize(
    ("images", "held"), [(["a_0000.nii", "b_0000.nii", "b_0001.nii"], "a has the channels 0000; expected 0000, 0001")]
)
def test_a_case_that_lacks_a_channel_is_refused(images: list, held: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=held):
        paired(tmp_path, images, ["a.nii", "b.nii"])
