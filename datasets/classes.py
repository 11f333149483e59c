"""Which value of a mask is which class: a label map, given in words by the user or found in the masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.ground.errors import BadInput
from datasets.dataset import IGNORE
from datasets.readers import ROUNDING, read_text, slabs

MAX_CLASSES = 255
"""Background included: a class number is a byte, and 255 is no class."""

COLOURED = 1 << 24
"""Above it lie the values of coloured masks: red, green and blue, a byte each. Equal ones are their grey value instead."""

SHOWN = 12
"""Values that a message lists."""

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
        known = sorted({*(self.values or range(len(self.names))), *self.ignore})
        numbers = np.asarray([IGNORE if value in self.ignore else self.values.get(value, value) for value in known], np.uint8)
        wrong: list[np.ndarray] = []
        found = np.empty(label.shape, np.uint8)
        for part in slabs(label.shape):
            values = label[part]
            whole = np.rint(values) if values.dtype.kind == "f" else values
            place = np.searchsorted(known, np.nan_to_num(whole)).clip(max=len(known) - 1)
            good = (np.asarray(known)[place] == whole) & ~(np.abs(values - whole) > ROUNDING)
            if not good.all():
                wrong.append(values[~good])
            found[part] = numbers[place]
        if wrong:
            raise BadInput(
                f"{path}: the label holds {shown_value(wrong[0][0])} in {sum(map(len, wrong))} voxels; expected {_listed(known)}; correct"
                " the mask, or say in classes.yaml which value is which class"
            )
        return found

    def of_classes(self) -> tuple[int, ...]:
        """The value of each class; of one that several values stand for, the first."""
        firsts = {number: value for value, number in reversed(self.values.items())}
        return tuple(firsts.get(number, number) for number in range(len(self.names)))

    def shown(self) -> str:
        """The map in words, for people."""
        classes = [
            f"{name} = {', '.join(shown_value(value) for value, to in self.values.items() if to == number) or number}"
            for number, name in enumerate(self.names)
        ]
        ignored = [f"ignored = {', '.join(map(shown_value, sorted(self.ignore)))}"] if self.ignore else []
        return "; ".join([*classes, *ignored])


def stated_map(stated: Stated, where: str) -> LabelMap:
    """The map that a user or dataset.json states: value -> name (several values may share one) or name -> value or values.

    The name ``ignore`` is of voxels that are no class. The class of value 0 is the background, and is there if it is not named.

    Raises:
        BadInput: a value is no integer, or belongs to two classes (as with nnU-Net's regions).
    """
    pairs: list[tuple[int, str]] = []
    for key, told in stated.items():
        by_value = value_of(key) is not None and isinstance(told, str)
        values = [value_of(value) for value in ([key] if by_value else told if isinstance(told, (list, tuple)) else [told])]
        if None in values or not values:
            raise BadInput(
                f"{where}: {key}: {told} is no class; expected a name and its value or values, as liver: 1; correct it"
            )
        pairs += [(value, str(told) if by_value else str(key)) for value in values if value is not None]
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


def value_of(stated: Any) -> int | None:
    """The value that a number or a colour such as ``#ff0000`` states; None where it states none."""
    text = "" if isinstance(stated, bool) else str(stated).strip()
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return red if red == green == blue else COLOURED | red << 16 | green << 8 | blue
    return int(text) if text.removeprefix("-").isdecimal() else None


def shown_value(value: float) -> str:
    """A mask's value for people: a colour as ``#ff0000``."""
    if COLOURED <= value < 2 * COLOURED:
        return f"#{int(value) - COLOURED:06x}"
    return f"{value:g}" if abs(value) < COLOURED and value % 1 else f"{value:.0f}"


def _listed(values: list[int]) -> str:
    return ", ".join(map(shown_value, values[:SHOWN])) + (f", ... ({len(values)} values)" if len(values) > SHOWN else "")


def users_map(folder: Path) -> LabelMap | None:
    """The map of ``classes.yaml`` or ``classes.txt`` in the folder of the data; None where there is neither.

    A line of ``classes.txt`` is the name of the next class from 0 on; ``name: values`` or ``value: name`` states the values instead, on
    every line then.

    Raises:
        BadInput: the file cannot be understood.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    first = [re.fullmatch(r"(\d+|#[0-9a-fA-F]{6})[\s:=,]+(.*\D.*)", line) for line in lines]
    if path.suffix == ".txt" and all(first):
        return stated_map({match[1]: match[2].strip() for match in first if match}, str(path))
    if path.suffix == ".txt" and not any(
        value_of(value) is not None for line in lines for value in line.rpartition(":")[2].split(",")
    ):
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
        held = (
            "no line such as" if isinstance(stated, (str, list, type(None))) else f"a {type(stated).__name__}, no line such as"
        )
        raise BadInput(f"{path} holds {held} liver: 1; expected a name, a colon, a blank and a value on each line; correct it")
    return stated_map(stated, str(path))


def found_map(values: Iterable[int], where: str) -> tuple[LabelMap, str]:
    """The map of masks that nobody explained, from all the values in them, and what is to be told of it (empty where it is plain).

    Raises:
        BadInput: they are no class numbers.
    """
    found = sorted({0, *values})
    if found[0] < 0:
        raise BadInput(
            f"{where}: the labels hold {_listed(found)}; expected class numbers from 0; correct the masks, or write classes.yaml (lines"
            f" such as liver: 1 or ignore: {found[0]})"
        )
    if len(found) == 1:
        raise BadInput(f"{where}: the labels hold 0 alone; expected at least one class above; check that these are the masks")
    if len(found) > MAX_CLASSES:
        raise BadInput(
            f"{where}: the labels hold {_listed(found)}; expected at most {MAX_CLASSES - 1} classes; check that these are masks, saved"
            " without smoothing or JPEG"
        )
    names = ("background", *(f"class {shown_value(value)}" for value in found[1:]))
    if found == list(range(len(found))):
        return LabelMap(names), ""
    lines = 'liver: "#ff0000"' if found[-1] >= COLOURED else "liver: 1"
    told = (
        f"the labels hold {_listed(found)} and no file says what they are: they became classes 0 to {len(found) - 1}"
        f" in this order; to name, merge or ignore values write classes.yaml (lines such as {lines} or ignore: 255)"
    )
    return LabelMap(names, {value: number for number, value in enumerate(found)}), told
