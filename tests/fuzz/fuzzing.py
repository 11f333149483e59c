"""What the fuzzers share: time, which all of them spend together, and damage to bytes."""

import os
import time
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS", "12"))
TARGETS = 18
"""Among which the seconds are shared out equally: layouts, words and stores."""

ENOUGH = 300
"""Examples after which every outcome that there can be should have come."""

few = settings(max_examples=10, deadline=None, database=None, derandomize=False, suppress_health_check=list(HealthCheck))
"""Of one batch; batches are repeated until the time is over, each with other examples (on CI, too, where hypothesis would draw
the same ten each time)."""


def spend(batch: Callable[[], None], outcomes: Counter[str]) -> str:
    """Run batches until the target's share of the time is over; returns the outcomes in words. Both must come, if there was time for it."""
    deadline = time.monotonic() + SECONDS / TARGETS
    while True:
        batch()
        if time.monotonic() >= deadline:
            break
    assert outcomes.total() < ENOUGH or min(outcomes["read"], outcomes["refused"]) > 0, outcomes
    return f"{outcomes['read']} read, {outcomes['refused']} refused"


def damage(content: bytes, data: st.DataObject) -> bytes:
    """A few bytes changed, a part left out or doubled, or numbers of a header replaced by extreme ones."""
    if not content:
        return content
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        near = data.draw(st.sampled_from([64, 400, len(content)]))
        at = data.draw(st.integers(0, min(near, len(content)) - 1))
        match data.draw(st.sampled_from(["byte", "number", "cut", "double", "text"])):
            case "byte":
                changed[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "number":
                extreme = data.draw(
                    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f"])
                )
                changed[at : at + 4] = extreme
            case "cut":
                del changed[at : at + data.draw(st.integers(1, 200))]
            case "double":
                changed[at:at] = changed[at : at + data.draw(st.integers(1, 200))]
            case "text":
                changed[at : at + 1] = data.draw(st.text(max_size=8)).encode()
    return bytes(changed)
