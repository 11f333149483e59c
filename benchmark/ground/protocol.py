"""Protocols: named sets of rules that are equal for all methods.

Values of ``paper`` are the field's common recipe (SSL4MIS: SGD .01, momentum .9, weight decay 1e-4, polynomial decay .9, 30,000
steps) at the image size of cross-teaching, 224 pixels, which the Swin-UNet needs. ``paper-short`` is the same with 4,000 steps; ramps and
decay are fractions of the steps. ``paper-bf16`` is the same in half precision. ``quick`` and ``smoke`` are the same rules, shorter, with
narrower and shallower versions of the same two networks.

Rules of one's own start from one of these: ``quick[steps=1600,image_size=96]``, or a YAML file, whose name is the protocol's:

    # mine.yaml
    base: paper
    steps: 8000
    swin:
      window: 8
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from benchmark.ground.errors import BadInput, meant, quoted, short
from benchmark.ground.feasibility import check_feasible
from benchmark.ground.grammar import as_typed, parse_value, split_item
from benchmark.ground.registry import NAME

Count = Annotated[int, Field(ge=1, le=10**9)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=10)]
Share = Annotated[float, Field(ge=0, lt=1)]


class SwinSize(BaseModel):
    """Size of the Swin-UNet: channels after patch embedding, blocks and heads a level, window and patch in tokens and pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    embed: Count
    depths: Counts
    heads: Counts
    window: Count
    patch: Count = 4


class Protocol(BaseModel):
    """What every method gets alike: steps, batch, image size, networks' sizes, optimiser, schedule, selection."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    summary: str
    """For people alone: no part of the rules, so that a better sentence runs no cell again."""
    base: str = ""
    """The preset that rules of one's own start from; they are what they are, whatever they start from."""
    version: int = 1
    steps: Count
    batch_labelled: Count
    batch_unlabelled: Count
    image_size: Count
    """Side of the square slices that networks see, pixels."""
    unet_widths: Counts
    unet_dropout: Annotated[tuple[Share, ...], Field(min_length=1, max_length=10)]
    swin: SwinSize
    learning_rate: float = Field(gt=0)
    momentum: Share = 0.9
    weight_decay: float = Field(default=1e-4, ge=0)
    power: float = Field(default=0.9, ge=0)
    """Learning rate at step t of T: learning_rate * (1 - t/T)^power."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of networks in training: bfloat16 is autocast, with weights, optimiser and predictions in float32."""
    augmentation: Literal["weak", "strong"] = "weak"
    """Of every batch, labelled and unlabelled: the field's, or nnU-Net's (``datasets.augmentation``)."""
    validations: Count
    """How many times the validation cases are scored, evenly spread, the last after the last step."""
    tolerance: float = Field(default=2.0, gt=0)
    """NSD's tolerance for every class, mm (voxels where the data has no spacing)."""

    @model_serializer(mode="wrap")
    def _dump(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the usual precision and augmentation, and without a base where there is none: as before there were such."""
        fields: dict[str, Any] = dump(self)
        if self.augmentation == "weak":
            del fields["augmentation"]
        if self.precision == "float32":
            del fields["precision"]
        if not self.base:
            del fields["base"]
        return fields

    def rules(self) -> dict[str, Any]:
        """All that can change a result, and the name, as JSON has it."""
        return {key: value for key, value in self.model_dump(mode="json").items() if key not in ("summary", "base")}

    @property
    def title(self) -> str:
        """The name; with what differs from the base in words, where the name does not say it: ``mine = paper[steps=8000]``."""
        if self.base not in PROTOCOLS:
            return self.name
        words = _named(self.base, dict(_flat(self)))
        return self.name if self.name == words else f"{self.name} = {words}"


PAPER = Protocol(
    name="paper",
    summary="the field's sizes: U-Net 16-256, Swin-T, 224 px, 30,000 steps; for a GPU",
    steps=30_000,
    batch_labelled=12,
    batch_unlabelled=12,
    image_size=224,
    unet_widths=(16, 32, 64, 128, 256),
    unet_dropout=(0.05, 0.1, 0.2, 0.3, 0.5),
    swin=SwinSize(embed=96, depths=(2, 2, 2, 2), heads=(3, 6, 12, 24), window=7),
    learning_rate=0.01,
    validations=30,
)

PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            name="smoke",
            summary="does it run: seconds a cell; scores mean nothing",
            steps=20,
            batch_labelled=4,
            batch_unlabelled=4,
            image_size=32,
            unet_widths=(4, 8, 16),
            unet_dropout=(0.05, 0.1, 0.2),
            swin=SwinSize(embed=8, depths=(1, 1), heads=(2, 4), window=4),
            learning_rate=0.03,
            validations=2,
        ),
        Protocol(
            name="quick",
            summary="small networks, 64 px: about two minutes a cell on one CPU core; methods can be told apart",
            steps=400,
            batch_labelled=8,
            batch_unlabelled=8,
            image_size=64,
            unet_widths=(8, 16, 32, 64),
            unet_dropout=(0.05, 0.1, 0.2, 0.3),
            swin=SwinSize(embed=24, depths=(2, 2), heads=(2, 4), window=4),
            learning_rate=0.1,
            validations=5,
        ),
        PAPER,
        PAPER.model_copy(
            update={
                "name": "paper-short",
                "summary": "paper with 4,000 steps and all else the same: a first look, for a GPU",
                "steps": 4_000,
            }
        ),
        PAPER.model_copy(
            update={
                "name": "paper-bf16",
                "summary": "paper with training in bfloat16 (autocast) and all else the same: faster, for a GPU",
                "precision": "bfloat16",
            }
        ),
    )
}


def get_protocol(text: str) -> Protocol:
    """The protocol that ``--protocol`` names: a preset, a preset with changes in brackets, or a YAML file.

    Raises:
        BadInput: no such preset, rule or file, a value that a rule cannot have, or rules that do not go together.
    """
    if text.lower().endswith((".yaml", ".yml")):
        return _from_file(Path(text))
    name, given = split_item("--protocol", text)
    base = _preset("--protocol", name)
    protocol = _changed("--protocol", base, given)
    named = _named(name, dict(_flat(protocol)))
    if named == name:
        return base
    protocol = protocol.model_copy(update={"name": named, "summary": named, "base": name})
    check_feasible("--protocol", protocol)
    return protocol


def _preset(where: str, name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise BadInput(f"{where}: no protocol is called {quoted(name)}; {meant(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def _flat(protocol: Protocol) -> Iterator[tuple[str, Any]]:
    """The rules that can be changed, by name, in order; those of the Swin-UNet as ``swin.window``."""
    for name in Protocol.model_fields:
        value = getattr(protocol, name)
        if isinstance(value, SwinSize):
            yield from ((f"{name}.{part}", getattr(value, part)) for part in SwinSize.model_fields)
        elif name not in ("name", "summary", "base", "version"):
            yield name, value


def _named(base: str, values: dict[str, Any]) -> str:
    """``base[rule=value,...]`` with the rules that differ from the preset's; the preset's own name where none does."""
    usual = dict(_flat(PROTOCOLS[base]))
    changed = [f"{name}={as_typed(value)}" for name, value in values.items() if value != usual[name]]
    return f"{base}[{','.join(changed)}]" if changed else base


def _changed(where: str, base: Protocol, given: dict[str, Any]) -> Protocol:
    """The preset with other rules.

    Raises:
        BadInput: ``where`` names no rule, or a value that it cannot have.
    """
    known = list(dict(_flat(base)))
    content = base.model_dump(mode="json")
    for name, value in given.items():
        if name not in known:
            raise BadInput(f"{where}: {base.name} has no rule {quoted(name)}; {meant(name, known)}")
        part, _, inner = name.partition(".")
        if inner:
            content[part][inner] = value
        else:
            content[part] = value
    try:
        return Protocol.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        wrong = f"{base.name}[{name}={short(as_typed(given.get(name)))}]"
        raise BadInput(f"{where}: {wrong}: {first['msg'].lower()}; expected something like {_example(base, name)}") from None


def _example(base: Protocol, name: str) -> str:
    return f"{name}={as_typed(dict(_flat(base))[name])}, as {base.name} has it"


def _from_file(file: Path) -> Protocol:
    """The protocol that a YAML file describes, called by the file's name."""
    where, name = f"--protocol: {file}", file.stem
    if not re.fullmatch(NAME, name) or name in PROTOCOLS:
        reason = "is a preset's" if name in PROTOCOLS else "cannot be one"
        raise BadInput(
            f"{where}: the file's name is the protocol's, and {quoted(name)} {reason}; expected letters, digits, _ and - of its own"
        )
    given = dict(_read(where, file))
    base = given.pop("base", None)
    if not isinstance(base, str):
        raise BadInput(
            f"{where} has no base; expected a line such as base: paper, and rules that differ; {meant('', PROTOCOLS)}"
        )
    protocol = _changed(where, _preset(where, base), given)
    protocol = protocol.model_copy(update={"name": name, "base": base})
    protocol = protocol.model_copy(update={"summary": protocol.title})
    check_feasible(where, protocol)
    return protocol


def _read(where: str, file: Path) -> dict[str, Any]:
    """The file's keys, those of a mapping as ``swin.window``, and values, read by the grammar of the command line."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise BadInput(f"{where} has an alias (*name); expected each value written out")
        node = yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror}); expected a YAML file of base and rules") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{where} is no YAML ({reason}); expected lines such as base: paper and steps: 8000") from None
    if not isinstance(node, yaml.MappingNode):
        raise BadInput(f"{where} holds no rules; expected lines such as base: paper and steps: 8000")
    found: dict[str, Any] = {}
    for name, value in _pairs(where, node, ""):
        if name in found:
            raise BadInput(f"{where} has {name} twice; expected it once")
        found[name] = value
    return found


def _pairs(where: str, node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    import yaml

    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise BadInput(f"{where} has a key that is no name; expected lines such as base: paper and steps: 8000")
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and not prefix:
            yield from _pairs(where, value, f"{name}.")
        else:
            yield name, _value(f"{where}, {name}", value)


def _value(where: str, node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return parse_value(where, node.value) if node.style is None else node.value
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [_value(where, item) for item in node.value]
    raise BadInput(f"{where}: found values within values; expected a number, text or a list of these")
