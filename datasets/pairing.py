"""Which image belongs to which mask, by their names: as nnU-Net, the Decathlon, BTCV, BraTS and KiTS call them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.ground.errors import BadInput
from datasets.formats import ENDINGS, ending_of, stem_of
from datasets.readers import is_series
from datasets.survey import named
from datasets.volumes import Files, Source

CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>[0-9]{4})")
MASK_WORDS = ("segmentation", "groundtruth", "labels", "label", "masks", "mask", "segm", "seg", "gt", "manual")
IMAGE_WORDS = ("imaging", "images", "image", "img", "volume", "scan")
BESIDE = (".json", ".txt", ".csv", ".tsv", ".xml", ".md", ".pdf", ".raw", ".zraw", ".bval", ".bvec")
"""Endings of files that may lie beside images and are none."""


@dataclass
class Pairs:
    """sources: case -> its files. told: what people should know of how they were found. channels: their names, where files have such."""

    sources: dict[str, Source]
    told: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()

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
        BadInput: the folder of images holds none, two files have one name, or a case lacks a channel.
    """
    masks = by_stem(labels)
    found = by_stem(images)
    if not found:
        raise BadInput(
            f"{images} holds no image that can be read ({_held(images)}); expected {', '.join(ENDINGS)} or a folder for each DICOM"
            " series; convert the images, or name the folder that holds them"
        )
    groups = by_channel(images, found, masks, channels)
    told = [*_unread(images), *_unread(labels)]
    owner, loosely = _match(groups, masks)
    if loosely:
        shown = [f"{case} with {owner[case]}" for case in loosely]
        told.append(f"{named(shown, len(groups), 'images')} of {images.name} have a mask of another name, taken for theirs")
    if not os.path.isdir(labels):
        told.append(f"there is no folder {labels.name} beside {images.name}")
    pairs = Pairs({case: Source(tuple(files), masks.get(owner.get(case, ""))) for case, files in groups.items()}, told)
    if (stray := sorted(masks.keys() - set(owner.values()))) and masks:
        told.append(
            f"{named(stray, len(masks), 'masks')} of {labels.name} belong to no image of {images.name} and are not used"
        )
    return pairs


def by_stem(folder: Path) -> dict[str, Path]:
    """A folder's images by name without ending, in order of name; also folders of a DICOM series."""
    found: dict[str, Path] = {}
    for path in _entries(folder):
        if not _is_image(path):
            continue
        stem = path.name if path.is_dir() else stem_of(path.name)
        if stem in found:
            ends = f"as {ending_of(found[stem].name)} and as {ending_of(path.name)}"
            raise BadInput(f"{folder}: {stem} is there {ends}; expected one; remove the other")
        found[stem] = path
    return found


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, but for what systems hide there."""
    there = sorted(folder.iterdir()) if os.path.isdir(folder) else []
    return [path for path in there if not path.name.startswith((".", "__MACOSX"))]


def _is_image(path: Path) -> bool:
    return is_series(path) or bool(ending_of(path.name) and path.is_file())


def _held(folder: Path) -> str:
    """What lies in a folder, by kind: ``6 .hdr, 6 .img, 2 folders``."""
    kinds = Counter("folders" if path.is_dir() else path.suffix or "files without an ending" for path in _entries(folder))
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4)) or "nothing"


def _unread(folder: Path) -> list[str]:
    """A sentence on what lies among the images and is none."""
    there = _entries(folder)
    odd = [path.name for path in there if not _is_image(path) and path.suffix.lower() not in BESIDE]
    return [f"{named(odd, len(there), 'entries')} of {folder.name} are of no format that is read, and not used"] if odd else []


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
    if all(list(found) == [0] for found in groups.values()):
        count = 1  # several channels in one file, as of a colour picture
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
    others: list[str] = []
    for home in [path for path in _entries(folder) if path.is_dir()]:
        found = by_stem(home)
        masks = {stem: path for stem, path in found.items() if plain(stem).endswith(MASK_WORDS)}
        images = {stem: path for stem, path in found.items() if stem not in masks}
        if not images:
            others.append(home.name)
            continue
        if len(masks) > 1:
            return None
        kinds[home.name] = tuple(sorted(stem.removeprefix(home.name).lstrip("_-. ") for stem in images))
        sources[home.name] = Source(tuple(images[stem] for stem in sorted(images)), next(iter(masks.values()), None))
    if not any(source.label for source in sources.values()):
        return None
    usual = max(kinds.values(), key=list(kinds.values()).count)
    for case, names in kinds.items():
        if names != usual:
            raise BadInput(
                f"{folder / case} holds {', '.join(names)}; expected the channels {', '.join(usual)} as in the other cases; complete it"
            )
    told = [f"{named(others, len(others) + len(sources), 'folders')} hold no image and are no cases"] if others else []
    return Pairs(sources, told, usual)
