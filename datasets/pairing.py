"""Which image belongs to which mask, by their names: as nnU-Net, the Decathlon, BTCV, BraTS and KiTS call them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.ground.errors import BadInput
from datasets.formats import ending_of, stem_of
from datasets.survey import named
from datasets.volumes import Files, Source

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>[0-9]{4})")
MASK_WORDS = ("segmentation", "groundtruth", "labels", "label", "masks", "mask", "seg", "gt", "manual")
IMAGE_WORDS = ("imaging", "images", "image", "img", "volume", "scan")


@dataclass
class Pairs:
    """sources: case -> its files. told: what people should know of how they were found. unused: masks without an image."""

    sources: dict[str, Source]
    told: list[str] = field(default_factory=list)

    @property
    def unlabelled(self) -> list[str]:
        """Cases without a mask."""
        return [case for case, source in self.sources.items() if source.label is None]

    def files(self) -> Files:
        """A volume a case."""
        return {case: {case: source} for case, source in self.sources.items()}


def pair_folders(images: Path, labels: Path, channels: int | None = None) -> Pairs:
    """The images of one folder with the masks of another. channels: a case's files, where it is known.

    Files ``case_0000``, ``case_0001`` are channels of ``case`` where the masks are called so. A mask's name may differ from its image's
    in ending, capitals, the encoding of accents or a word such as ``_seg``; where no name fits, numbers do (img0001, label0001).

    Raises:
        BadInput: two files have one name, or a case lacks a channel.
    """
    masks = by_stem(labels)
    found = by_stem(images)
    groups = by_channel(images, found, masks, channels)
    told: list[str] = []
    owner, loosely = _match(groups, masks)
    if loosely:
        told.append(f"{named(loosely, len(groups), 'images')} of {images.name} have a mask of another name, taken for theirs")
    pairs = Pairs({case: Source(tuple(files), masks.get(owner.get(case, ""))) for case, files in groups.items()}, told)
    if (stray := sorted(masks.keys() - set(owner.values()))) and masks:
        told.append(
            f"{named(stray, len(masks), 'masks')} of {labels.name} belong to no image of {images.name} and are not used"
        )
    return pairs


def by_stem(folder: Path) -> dict[str, Path]:
    """A folder's images by name without ending, in order of name; also folders of a DICOM series."""
    found: dict[str, Path] = {}
    if not os.path.isdir(folder):
        return found
    for path in sorted(folder.iterdir()):
        series = path.is_dir() and any(path.glob("*.dcm"))
        if path.name.startswith(".") or not (series or (ending_of(path.name) and path.is_file())):
            continue
        stem = path.name if series else stem_of(path.name)
        if stem in found:
            ends = f"as {ending_of(found[stem].name)} and as {ending_of(path.name)}"
            raise BadInput(f"{folder}: {stem} is there {ends}; expected one; remove the other")
        found[stem] = path
    return found


def by_channel(folder: Path, images: dict[str, Path], masks: Iterable[str], channels: int | None) -> dict[str, list[Path]]:
    """case -> the files of its channels."""
    names = {plain(stem) for stem in masks}
    groups: dict[str, dict[int, Path]] = {}
    for stem, path in images.items():
        match = CHANNEL.fullmatch(stem)
        if match is None or plain(stem) in names:
            return {stem: [path] for stem, path in images.items()}
        groups.setdefault(match["case"], {})[int(match["channel"])] = path
    if (
        not channels
        and not any(plain(case) in names for case in groups)
        and (names or any(0 not in g for g in groups.values()))
    ):
        return {stem: [path] for stem, path in images.items()}
    count = channels or max(map(len, groups.values()), default=0)
    for case, found in groups.items():
        if sorted(found) != list(range(count)):
            held, expected = (", ".join(f"{k:04}" for k in channels) for channels in (sorted(found), range(count)))
            raise BadInput(f"{folder}: {case} has the channels {held}; expected {expected}; complete the folder")
    return {case: [found[k] for k in sorted(found)] for case, found in groups.items()}


def _match(cases: Iterable[str], masks: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """case -> mask, and the cases whose mask has another name."""
    cases, masks = list(cases), list(masks)
    owner = {case: case for case in cases if case in set(masks)}
    loosely: list[str] = []
    for key in (plain, bare):
        left = _unique({mask: key(mask) for mask in masks if mask not in owner.values()})
        wanted = _unique({case: key(case) for case in cases if case not in owner})
        for name, case in wanted.items():
            if name in left:
                owner[case] = left[name]
                loosely.append(case)
    if not owner:
        left, wanted = (_unique(_numbers(names)) for names in (masks, cases))
        for number, case in wanted.items():
            if number in left:
                owner[case] = left[number]
                loosely.append(case)
    return owner, loosely


def _unique(keys: dict[str, str]) -> dict[str, str]:
    """key -> name, of keys that one name has."""
    count: dict[str, list[str]] = {}
    for name, key in keys.items():
        count.setdefault(key, []).append(name)
    return {key: names[0] for key, names in count.items() if len(names) == 1 and key}


def _numbers(names: Iterable[str]) -> dict[str, str]:
    """The number that a name ends with, where all names are one word and a number."""
    found = {name: re.fullmatch(r"(?P<word>\D*)(?P<number>\d+)\D*", name) for name in names}
    if not all(found.values()) or len({match["word"] for match in found.values() if match}) != 1:
        return {}
    return {name: str(int(match["number"])) for name, match in found.items() if match}


def plain(name: str) -> str:
    """A name without capitals and with accents in one encoding."""
    return unicodedata.normalize("NFC", name).casefold()


def bare(name: str) -> str:
    """A plain name without words that only say that it is an image or a mask."""
    words = "|".join((*MASK_WORDS, *IMAGE_WORDS))
    return re.sub(rf"^(?:{words})(?:[_\-. ])|(?:[_\-. ])(?:{words})$", "", plain(name))


def case_folders(folder: Path) -> Pairs | None:
    """A folder for each case, with its channels and its mask in it (BraTS, KiTS); None where the folder is no such thing.

    The mask is the file whose name ends with a word such as ``seg``; the others are channels, by name, the same in each folder.

    Raises:
        BadInput: a case lacks a channel that others have.
    """
    sources: dict[str, Source] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    for home in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        masks = {stem: path for stem, path in by_stem(home).items() if plain(stem).endswith(MASK_WORDS)}
        images = {stem: path for stem, path in by_stem(home).items() if stem not in masks}
        if not images or len(masks) > 1:
            return None
        prefix = home.name
        kinds[home.name] = tuple(sorted(stem.removeprefix(prefix).lstrip("_-. ") for stem in images))
        sources[home.name] = Source(tuple(images[stem] for stem in sorted(images)), next(iter(masks.values()), None))
    if not sources or not any(source.label for source in sources.values()):
        return None
    usual = max(kinds.values(), key=list(kinds.values()).count)
    for case, found in kinds.items():
        if found != usual:
            raise BadInput(
                f"{folder / case} holds {', '.join(found)}; expected the channels {', '.join(usual)} as in the other cases; complete it"
            )
    return Pairs(sources, [f"each folder is a case; its channels are {', '.join(usual)}"] if len(usual) > 1 else [])
