"""What rows of the leaderboard are called in words, the same in every form of it."""

from __future__ import annotations

import math
from typing import Any

KEPT, LACKING = "†", "‡"
MARK = "*"
"""Of a score that says nothing on the method, for a run has not converged."""

TRACK = {"run": "", "tuned": ", tuned hyper-parameters"}


def number(value: float, digits: int = 0, unit: str = "") -> str:
    """A number with so many decimals; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}{unit}"


def case_seconds(seconds: float) -> str:
    """Seconds of a run as s, min or h."""
    if seconds >= 7200:
        return number(seconds / 3600, 1, " h")
    return number(seconds / 60, 0, " min") if seconds >= 120 else number(seconds, 0, " s")


def cases_only(units: float) -> str:
    """What stands behind the interval of one run, of which nothing is known of training again."""
    return " cases only" if units == 1 else ""


def tuning_text(row: Any) -> str:
    """What finding a row's hyper-parameters took; a dash where they are the published ones."""
    if math.isnan(row.tuning_trials):
        return "-"
    return f"{row.tuning_trials:.0f} trials, {row.tuning_steps:.0f} steps, {case_seconds(row.tuning_seconds)}"


def unconverged_in_words(row: Any) -> str:
    """Which classes some runs of a row never found; empty where there is no such run."""
    if not row.runs_unconverged:
        return ""
    return f"{row.never_found} never found ({row.runs_unconverged} of {row.runs_done} runs): not converged at this length"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; nothing has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def collapsed_in_words(row: Any) -> str:
    """In how many runs a row predicts nothing at all; empty where in none."""
    if not row.runs_collapsed > 0:
        return ""
    return f"predicts nothing (every structure missed) in {row.runs_collapsed:.0f} of {row.runs_done} runs"


def lacking_in_words(row: Any, others: bool = False) -> str:
    """How many runs a row, or it and others, lacks, and what that means for its scores; empty where it lacks none."""
    if not row.runs_lacking > 0:
        return ""
    return f"lack{'s' * (not others)} {row.runs_lacking:.0f} of the runs that others have done; what made runs hard for all is taken off"
