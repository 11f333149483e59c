"""The laws that every method keeps, checked on a made-up task in seconds: ``python -m benchmark check``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.conformance.laws import LAWS, UNTRAINED_LAWS, Violation
from benchmark.conformance.subject import Subject
from methods.method import Propagator


@dataclass(frozen=True)
class Result:
    """What became of a law: ``problem`` is None where it holds."""

    law: str
    problem: str | None


def check(method: type) -> Iterator[Result]:
    """Try every law on a class of method; an exception of the method's own is a violation too."""
    subject = Subject(method)
    for law in UNTRAINED_LAWS if issubclass(subject.cls, Propagator) else LAWS:
        said = (law.__doc__ or law.__name__).strip()
        try:
            law(subject)
            yield Result(said, None)
        except Violation as violation:
            yield Result(said, str(violation))
        except Exception as error:  # whatever a plug-in's code raises
            yield Result(said, f"{type(error).__name__}: {error}")
