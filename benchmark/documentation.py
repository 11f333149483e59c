"""docs/methods.md from the classes: what each method is, its terms, its hyper-parameters with their sources."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

from benchmark.ground import registry
from benchmark.ground.environment import ROOT
from benchmark.ground.ranges import Range, in_words, ranges_of
from methods.method import Propagator
from methods.registered.rsl import RegistrationHparams

OPENING = """# The methods

Made from the classes by `make docs`; a test holds that it is up to date. All get the same steps, batches, augmentation, optimiser
and networks (`ls protocols`). *w(t)* is the ramp exp(-5 (1 - t/T)^2). Marks: known, stated by the authors; ancestor, from the work
that it builds on; choice, ours where no source could be read. A range is what tuning searches. "Held to" says on what the tests compare
a method with numbers that its authors' own code gave, and by which factor it departs from them on purpose.
"""


REFERENCES = ROOT / "tests" / "methods" / "references"
"""Numbers that the authors' own code gave; see ``tests/methods/recorded.py``."""

HEAD = "| hyper-parameter | default | range | what it is |\n|:---|:---|:---|:---|\n"


def methods_page() -> str:
    """The page, Markdown."""
    ranges = ranges_of(RegistrationHparams)
    shared = [_row(name, field, ranges) for name, field in RegistrationHparams.model_fields.items()]
    rsl = f"## Of all that train: the learning rate, and RSL as a switch\n\n{HEAD}" + "\n".join(shared) + "\n"
    return "\n".join([OPENING, rsl, *(_section(registry.load("methods", name)) for name in registry.built_ins("methods"))])


def _section(method: Any) -> str:
    about = inspect.cleandoc(importlib.import_module(method.__module__).__doc__ or "").split("\n", 1)
    idea = inspect.cleandoc(method.__doc__ or "")
    kind = "no training" if issubclass(method, Propagator) else "trained"
    parts = [
        f"## `{method.name}`\n",
        f"**{about[0]}** ({kind})\n",
        about[1].strip() + "\n" if len(about) > 1 else "",
        f"{idea}\n",
    ]
    ranges = ranges_of(method.Hparams)
    rows = [_row(name, field, ranges) for name, field in method.Hparams.model_fields.items() if not _shared(name, field)]
    if rows:
        parts.append(HEAD + "\n".join(rows) + "\n")
    parts.append(_references(method.name))
    return "\n".join(part for part in parts if part)


def _references(name: str) -> str:
    """What of a method is compared with its authors' code, where that was run."""
    path = REFERENCES / f"{name}.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text(encoding="utf-8"))
    source = (
        f"[{found['repository'].partition('github.com/')[2]}]({found['repository']}) at `{found['revision']}`"
        if found["repository"]
        else ""
    )
    lines = [f"Held to {source}:" if source else f"No code of its authors could be read ({found['note']}); held to:", ""]
    for record in found["records"]:
        factors = (record["deviation"] or {}).get("factor", {})
        ours = ", ".join(f"{key} times {factor:.4g}" for key, factor in factors.items())
        lines.append(
            f"- {record['what']} ({record['place']}): " + (f"{ours}: {record['deviation']['why']}" if factors else "equal")
        )
    return "\n".join([*lines, ""])


def _shared(name: str, field: Any) -> bool:
    """Whether it is RSL's, as in every other method."""
    known = RegistrationHparams.model_fields.get(name)
    return known is not None and known.default == field.default


def _row(name: str, field: Any, ranges: dict[str, Range]) -> str:
    span = in_words(ranges[name]) if name in ranges else ""
    default = f"{field.default:.3g}" if isinstance(field.default, float) else str(field.default).lower()
    return f"| `{name}` | {default} | {span} | {field.description} |"
