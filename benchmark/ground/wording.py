"""How numbers are said to people."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """``h:mm:ss``, or a dash where it is not known."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
