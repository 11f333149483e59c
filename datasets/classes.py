"""Which value of a mask is which class: a label map, given in words by the user or found in the masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.dataset import IGNORE
from datasets.readers import ROUNDING, check_label, read_text

MAX_CLASSES = 255
"""Background included: a class number is a byte, and 255 is no class."""

FILES = ("classes.yaml", "classes.yml", "classes.txt")
"""Where a user says so, in the folder of the data."""

Stated = Mapping[Any, Any]


@dataclass(frozen=True)
class LabelMap:
    """names: of the classes, background first. values: value in the files -> class number; empty where they are the same.

    ignore: values that are no class; losses and metrics leave their voxels out.
    """

    names: tuple[str, ...]
    values: dict[int, int] = field(default_factory=dict)
    ignore: frozenset[int] = frozenset()

    def apply(self, path: Path, label: np.ndarray) -> np.ndarray:
        """Values of the mask in ``path`` as class numbers, uint8; IGNORE where no class is meant.

        Raises:
            BadInput: a value is none of the map's; values within 1e-3 of an integer are that integer.
        """
        if not self.values and not self.ignore:
            return check_label(path, label, len(self.names))
        known = sorted({*(self.values or range(len(self.names))), *self.ignore})
        whole = np.rint(label) if label.dtype.kind == "f" else label
        place = np.searchsorted(known, np.nan_to_num(whole)).clip(max=len(known) - 1)
        good = (np.asarray(known)[place] == whole) & ~(np.abs(label - whole) > ROUNDING)
        if not good.all():
            raise BadInput(
                f"{path}: the label holds {label[~good][0]} in {int((~good).sum())} voxels; expected one of"
                f" {', '.join(map(str, known))}; correct the mask, or the values that the classes are given"
            )
        numbers = [IGNORE if value in self.ignore else self.values.get(value, value) for value in known]
        return np.asarray(numbers, np.uint8)[place]

    def of_classes(self) -> tuple[int, ...]:
        """The value of each class; of one that several values stand for, the first."""
        firsts = {number: value for value, number in reversed(self.values.items())}
        return tuple(firsts.get(number, number) for number in range(len(self.names)))

    def shown(self) -> str:
        """The map in words, for people."""
        classes = [
            f"{name} = {', '.join(str(value) for value, to in self.values.items() if to == number) or number}"
            for number, name in enumerate(self.names)
        ]
        ignored = [f"ignored = {', '.join(map(str, sorted(self.ignore)))}"] if self.ignore else []
        return "; ".join([*classes, *ignored])


def stated_map(stated: Stated, where: str) -> LabelMap:
    """The map that a user or dataset.json states: value -> name (several values may share one) or name -> value or values.

    The name ``ignore`` is of voxels that are no class. The class of value 0 is the background, and is there if it is not named.

    Raises:
        BadInput: a value is no integer, or belongs to two classes (as with nnU-Net's regions).
    """
    pairs: list[tuple[int, str]] = []
    for key, told in stated.items():
        by_value = _is_number(key)
        values = [key] if by_value else told if isinstance(told, (list, tuple)) else [told]
        if not all(_is_number(value) for value in values) or (by_value and not isinstance(told, str)):
            raise BadInput(
                f"{where}: {key}: {told} is no class; expected a name and its value or values, as liver: 1; correct it"
            )
        pairs += [(int(value), told if by_value else str(key)) for value in values]
    owner: dict[int, str] = {}
    for value, name in sorted(pairs, key=lambda pair: pair[0]):
        if owner.setdefault(value, name) != name:
            raise BadInput(
                f"{where}: value {value} belongs to {owner[value]} and to {name} (regions that overlap?); expected one class for"
                " each value; state classes that do not overlap"
            )
    ignore = frozenset(value for value, name in owner.items() if name.strip().lower() == "ignore")
    named = {0: "background"} | {value: name for value, name in owner.items() if value not in ignore}
    if min(named) < 0 or len(set(named.values())) > MAX_CLASSES or len(set(named.values())) < 2:
        found = f"{len(set(named.values()))} classes with values from {min(named)}"
        raise BadInput(f"{where}: {found}; expected 2 to {MAX_CLASSES} classes with values from 0; correct it")
    names = tuple(dict.fromkeys(named[value] for value in sorted(named, key=lambda value: (named[value] != named[0], value))))
    numbers = {value: names.index(name) for value, name in sorted(named.items())}
    return LabelMap(names, {} if all(value == number for value, number in numbers.items()) else numbers, ignore)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and str(value).strip().removeprefix("-").isdecimal()


def users_map(folder: Path) -> LabelMap | None:
    """The map of ``classes.yaml`` or ``classes.txt`` in the folder of the data; None where there is neither.

    A line of ``classes.txt`` is the name of the next class from 0 on; ``name: values`` states the values instead, on every line then.

    Raises:
        BadInput: the file cannot be understood.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if path.suffix == ".txt" and not any(_is_number(value) for line in lines for value in line.rpartition(":")[2].split(",")):
        if not 2 <= len(lines) <= MAX_CLASSES or len(set(lines)) < len(lines):
            raise BadInput(
                f"{path} has {len(lines)} names; expected 2 to {MAX_CLASSES}, background first, each once; correct it"
            )
        return LabelMap(tuple(lines))
    if path.suffix == ".txt":
        cut = [line.rpartition(":") for line in lines]
        return stated_map({name.strip(): [v.strip() for v in values.split(",")] for name, _, values in cut}, str(path))
    import yaml

    try:
        stated = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        raise BadInput(
            f"{path} is no YAML ({str(error).splitlines()[0]}); expected lines such as liver: 1; correct it"
        ) from None
    if not isinstance(stated, dict):
        raise BadInput(f"{path} holds a {type(stated).__name__}; expected lines such as liver: 1; correct it")
    return stated_map(stated, str(path))


def found_map(values: Iterable[int], where: str) -> tuple[LabelMap, str]:
    """The map of masks that nobody explained, from all the values in them, and what is to be told of it (empty where it is plain).

    Raises:
        BadInput: they are no class numbers.
    """
    found = sorted({0, *values})
    if len(found) == 1 or found[0] < 0 or len(found) > MAX_CLASSES:
        held = f"labels go up to {found[-1]}" if found[0] == 0 else f"labels go down to {found[0]}"
        raise BadInput(
            f"{where}: {held}, with {len(found)} values in all; expected at least one class above 0 and at most {MAX_CLASSES - 1};"
            " check the labels"
        )
    names = ("background", *(f"class {value}" for value in found[1:]))
    if found == list(range(len(found))):
        return LabelMap(names), ""
    told = (
        f"the labels hold {', '.join(map(str, found))} and no file says what they are: they became classes 0 to {len(found) - 1}"
        " in this order; to name, merge or ignore values write classes.yaml (lines such as liver: 1 or ignore: 255)"
    )
    return LabelMap(names, {value: number for number, value in enumerate(found)}), told
