"""The rows of the page's table: the leaderboard, its comparisons, and the scores of each class."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from reports.page.columns import COLUMNS
from reports.page.words import points
from reports.tables.by_metric import ALL_CLASSES
from reports.tables.comparable import rows_of
from reports.tables.comparison import EQUIVALENT, MARGIN, UNTESTED, Field, baseline_of
from reports.tables.leaderboard import FRACTIONS
from reports.tables.published import published_for
from reports.tables.wording import (
    case_seconds,
    cases_only,
    collapsed_in_words,
    lacking_in_words,
    signed,
    tuning_text,
    unconverged_in_words,
)

TRACKS = {"run": "published", "tuned": "tuned"}
EMPTY = dict.fromkeys(
    [
        "interval",
        "ranks",
        "rank",
        "shift",
        "shift_value",
        "judged",
        "better",
        "flip",
        "missed",
        "missed_share",
        "published",
        "verdict",
    ]
    + [column.key for column in COLUMNS if column.chosen]
)


def table_rows(
    measured: pd.DataFrame, baseline: str, board: pd.DataFrame, found: list[Field], margin: float = MARGIN
) -> list[list[Any]]:
    """The page's rows of a leaderboard, a list of values in the order of COLUMNS each: one per method and budget, then one per class.

    Args:
        measured: of ``by_metric``, for the leaderboard's selection of weights.
    """
    rows: list[dict[str, Any]] = []
    compared = _compared(found, baseline, margin)
    classes = _by_class(measured, {(*field.section, field.labels): _of_one_draw(field) for field in found}, margin)
    for row in rows_of(board):
        key = (row.dataset, row.protocol, row.kind, row.test_set, row.labels, row.variant)
        of_class = classes.get(key, {})
        rows.append(of_class.pop(ALL_CLASSES, {}) | _row(row) | compared.get(key, {}))
        rows += [rows[-1] | EMPTY | {"class": name} | scores for name, scores in of_class.items()]
    return [[_plain(row.get(column.key)) for column in COLUMNS] for row in rows]


def _plain(value: Any) -> Any:
    """A value that JSON can hold; numbers to six digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _row(row: Any) -> dict[str, Any]:
    """A row of the leaderboard in the page's terms."""
    claims = published_for(row)
    asked = row.runs_done + row.runs_failed + row.runs_unfinished
    scored = not math.isnan(row.dsc)
    return {
        **{name: getattr(row, name) for name in ("dataset", "test_set", "selection", "network", "passes", "seconds")},
        **{"method": row.variant, "labels": int(row.labels), "class": ALL_CLASSES, "track": TRACKS[row.kind]},
        "protocol": row.protocol_title,
        **{
            "dsc": 100 * row.dsc,
            "nsd": 100 * row.nsd,
            "hd95": float(row.hd95),
            "assd": float(row.assd),
            "unit": row.spacing_unit,
        },
        "interval": f"{100 * row.dsc_low:.1f} to {100 * row.dsc_high:.1f}{cases_only(row.units)}"
        if not math.isnan(row.dsc_low)
        else None,
        "missed": f"{row.missed:.0f}/{row.structures:.0f}" if scored else None,
        "missed_share": row.missed / row.structures if scored else None,
        "note": "; ".join(filter(None, [collapsed_in_words(row), unconverged_in_words(row), lacking_in_words(row)])) or None,
        "used": f"{row.labels} + {row.val_labels} val" if row.val_labels else None,
        "runs": f"{row.runs_done}/{asked}"
        + (f", {row.runs_failed} failed" if row.runs_failed else "")
        + (f", {row.runs_kept} of other code" if row.runs_kept else ""),
        "parameters": row.parameters / 1e6,
        "time": case_seconds(row.seconds) + (f" ({row.machines} machines)" if row.machines > 1 else ""),
        "memory": row.peak_memory_mb,
        "tuning": None if math.isnan(row.tuning_trials) else tuning_text(row),
        "published": "; ".join(map(str, claims)) or None,
        "verdict": claims[0].verdict(row) if claims and scored else None,
    }


def _compared(fields: list[Field], baseline: str, margin: float) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Ranks, and the comparison with the baseline, by section, budget and variant."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for field in (field.ranked for field in fields if field.ranked.variants):
        against = {row.variant: row for row in rows_of(field.against(baseline_of(baseline, field.section), margin))}
        for i, variant in enumerate(field.variants):
            values: dict[str, Any] = {"rank": float(field.rank[i])}
            low, high = field.rank_ranges[i]
            values["ranks"] = f"{field.rank[i]:g} " + ("(one run)" if math.isnan(low) else f"({low:g} to {high:g})")
            if variant in against:
                row = against[variant]
                values["shift"] = _shift_in_words(row, 100, 1)
                values |= {"shift_value": float(row.shift), "better": float(row.better), "flip": float(row.flip)}
                values["judged"] = _judged(row.verdict, row.p, margin) + _of_one_draw(field)
            found[(*field.section, field.labels, variant)] = values
    return found


def _shift_in_words(row: Any, scale: float, digits: int) -> str:
    """A difference with its interval, if it has one."""
    shift, low, high = (signed(scale * end, digits) for end in (row.shift, row.shift_low, row.shift_high))
    return shift if math.isnan(row.shift_low) else f"{shift} ({low} to {high}{cases_only(row.units)})"


def _judged(word: str, p: float, margin: float) -> str:
    if word == UNTESTED:
        return f"{word}: one run"
    return f"{word} within {points(margin)}" if word == EQUIVALENT else f"{word} (p {'< 0.001' if p < 0.001 else f'{p:.2g}'})"


def _of_one_draw(field: Field) -> str:
    """What seeds of one draw cannot speak beyond; empty where there is one run or several draws."""
    draws = {draw for draw, _ in field.runs}
    return f", on draw {min(draws)} alone" if len(draws) == 1 < len(field.runs) else ""


def _by_class(
    measured: pd.DataFrame, alone: dict[tuple[Any, ...], str], margin: float
) -> dict[tuple[Any, ...], dict[str, dict[str, Any]]]:
    """What a row says of each class, by section, budget and variant; alone: by budget, what seeds of one draw cannot speak beyond."""
    found: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    named = measured.rename(columns={"class": "of_class"})  # "class" is no name of a field
    for row in rows_of(named):
        where = (row.dataset, row.protocol, row.kind, row.test_set, row.labels)
        values = found.setdefault((*where, row.variant), {}).setdefault(row.of_class, {})
        start = "" if row.metric == "dsc" else f"{row.metric}_"
        scale, digits = (100, 1) if row.metric in FRACTIONS else (1, 2 if row.metric == "assd" else 1)
        values[row.metric] = scale * row.mean
        if not math.isnan(row.low):
            ends = f"{scale * row.low:.{digits}f} to {scale * row.high:.{digits}f}"
            values[f"{start}interval"] = ends + cases_only(row.units)
        if isinstance(row.verdict, str):
            values[f"{start}shift"] = _shift_in_words(row, scale, digits)
            values[f"{start}shift_value"] = float(row.shift)
            values[f"{start}judged"] = _judged(row.verdict, row.p, margin) + alone.get(where, "")
    return found
