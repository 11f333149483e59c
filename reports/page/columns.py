"""The columns of the page's table, and its filters."""

from __future__ import annotations

from dataclasses import dataclass

from reports.tables.by_metric import ALL_CLASSES


@dataclass(frozen=True)
class Column:
    """A column of the page's table: where its value comes from, and how it is shown. An empty header is carried for filters alone.

    chosen: shown only where its metric is chosen.
    """

    key: str
    header: str
    kind: str = "number"
    digits: int | None = None
    more_is_better: bool = False
    help: str = ""
    sort: str | None = None
    chosen: bool = False


def _judgement(metric: str) -> list[Column]:
    """What stands beside a metric that is chosen."""
    interval = Column(f"{metric}_interval", "95 % CI", "text", sort=metric, help=OVER, chosen=True)
    number = f"{metric}_shift_value"
    shift = Column(f"{metric}_shift", "vs baseline", "text", sort=number, help="difference with its 95 % interval", chosen=True)
    judged = Column(f"{metric}_judged", "Verdict", "text", help=JUDGED, chosen=True)
    return [interval, shift, Column(number, "", chosen=True), judged]


OVER = "over runs and cases; over cases only where one run is done"
JUDGED = "against the baseline, with p adjusted for the number of methods (Holm), not for metrics and classes"

COLUMNS = [
    Column("method", "Method", "name"),
    Column("labels", "Labels", digits=0, help="labelled training cases"),
    Column("class", "Class", "text"),
    Column("dsc", "DSC %", digits=1, more_is_better=True),
    Column("interval", "95 % CI", "text", sort="dsc", help=OVER),
    Column(
        "ranks",
        "Ranks",
        "text",
        sort="rank",
        help="rank of the mean, and the ranks it may have if somebody trains and tests again (95 %, all methods together)",
    ),
    Column("rank", ""),
    Column(
        "shift",
        "vs baseline",
        "text",
        sort="shift_value",
        help="difference in DSC points with its 95 % interval over runs and cases",
    ),
    Column("shift_value", ""),
    Column(
        "judged",
        "Verdict",
        "text",
        help="against the baseline, with p adjusted for the number of methods (Holm); equivalent: within the margin (two one-sided tests)",
    ),
    Column("better", "P(better)", digits=2, more_is_better=True, help="share of paired runs that beat the baseline's"),
    Column("flip", "P(flip)", digits=2, help="chance that one more run of both, on these cases, turns their order"),
    Column("hd95", "HD95", digits=1),
    *_judgement("hd95"),
    Column("assd", "ASSD", digits=2),
    *_judgement("assd"),
    Column("unit", "Unit", "text"),
    Column("nsd", "NSD %", digits=1, more_is_better=True),
    *_judgement("nsd"),
    Column("missed", "Missed", "text", sort="missed_share", help="structures in only one of prediction and truth"),
    Column("missed_share", ""),
    Column("note", "Note", "text", help="rows with a class that some runs never find are in no rank and no comparison"),
    Column("used", "Labels used", "text", help="labelled cases, and those whose labels chose the weights"),
    Column("runs", "Runs", "text", help="done, of all asked for"),
    Column("network", "Network", "text"),
    Column("parameters", "Parameters, M", digits=2),
    Column("passes", "Passes", digits=1, help="images through networks per image of a batch, in a training step"),
    Column("time", "Time", "text", sort="seconds"),
    Column("seconds", ""),
    Column("memory", "Memory, MB", digits=0),
    Column("tuning", "Tuning", "text", help="what finding the hyper-parameters took"),
    Column("published", "Published DSC %", "text long"),
    Column("verdict", "Against published", "text"),
    Column("dataset", "Dataset", "text"),
    Column("protocol", "Protocol", "text"),
    Column("test_set", "Test set", "text"),
    Column("selection", "Weights", "text"),
    Column("track", "Track", "text"),
]
FILTERS = [
    ("dataset", "Dataset", None),
    ("labels", "Labels", None),
    ("test_set", "Test set", None),
    ("class", "Class", ALL_CLASSES),
    ("track", "Hyper-parameters", None),
    ("protocol", "Protocol", None),
    ("selection", "Weights", "last"),
]
METRIC_COLUMNS = {
    "DSC": ["dsc", "interval", "ranks", "shift", "judged", "better", "flip"],
} | {metric.upper(): [metric, *(column.key for column in _judgement(metric))] for metric in ("hd95", "assd", "nsd")}
