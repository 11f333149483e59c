"""The columns of the page's table, and its filters."""

from __future__ import annotations

from dataclasses import dataclass

from reports.tables.by_metric import ALL_CLASSES


@dataclass(frozen=True)
class Column:
    """A column of the page's tables: where its value comes from, and how it is shown. An empty header is carried for other columns alone.

    best: "most" or "least" where values have an order of merit, which sorting begins with. sort: the column whose values are sorted by.
    chosen: shown only where its metric is chosen. told: where all rows of a table have the same, its caption says it. unit: the header
    names the table's unit of length.
    """

    key: str
    header: str
    kind: str = "number"
    digits: int | None = None
    best: str = ""
    help: str = ""
    sort: str | None = None
    chosen: bool = False
    told: bool = False
    unit: bool = False


def _judgement(metric: str, best: str) -> list[Column]:
    """What stands beside a metric that is chosen."""
    number = f"{metric}_shift_value"
    interval = Column(f"{metric}_interval", "95 % CI", "text", best=best, sort=metric, help=OVER, chosen=True)
    shift = Column(f"{metric}_shift", "vs baseline", "text", best=best, sort=number, help=SHIFT, chosen=True)
    judged = Column(f"{metric}_judged", "Verdict", "text", help=JUDGED, chosen=True)
    return [interval, shift, Column(number, "", chosen=True), judged]


OVER = "95 % interval of the mean, over runs and cases; over cases only where one run is done"
SHIFT = "difference from the baseline, with its 95 % interval over runs and cases; of DSC and NSD in points"
JUDGED = (
    "against the baseline, with p adjusted for the number of methods (Holm), not for metrics and classes; equivalent: within the margin"
    " (two one-sided tests)"
)
RANKS = "rank of the mean, and the ranks it may have if somebody trains and tests again (95 %, all methods together)"

COLUMNS = [
    Column("method", "Method", "name"),
    Column("dataset", "Dataset", "text", told=True),
    Column("labels", "Labels", digits=0, help="labelled training cases"),
    Column("class", "Class", "text", told=True, help="one class, or the mean over classes"),
    Column("dsc", "DSC %", digits=1, best="most", help="Dice: mean over classes, volumes of a case, cases and runs"),
    Column("interval", "95 % CI", "text", best="most", sort="dsc", help=OVER),
    Column("ranks", "Ranks", "text", best="least", sort="rank", help=RANKS),
    Column("rank", ""),
    Column("shift", "vs baseline", "text", best="most", sort="shift_value", help=SHIFT),
    Column("shift_value", ""),
    Column("judged", "Verdict", "text", help=JUDGED),
    Column("better", "P(better)", digits=2, best="most", help="share of paired runs that beat the baseline's"),
    Column(
        "flip", "P(flip)", digits=2, best="least", help="chance that one more run of both, on these cases, turns their order"
    ),
    Column("hd95", "HD95", digits=1, best="least", unit=True, help="95th percentile of the distances between surfaces"),
    *_judgement("hd95", "least"),
    Column("assd", "ASSD", digits=2, best="least", unit=True, help="average symmetric distance between surfaces"),
    *_judgement("assd", "least"),
    Column("unit", ""),
    Column("nsd", "NSD %", digits=1, best="most", help="share of the surfaces within the tolerance of each other"),
    *_judgement("nsd", "most"),
    Column(
        "missed",
        "Missed",
        "text",
        best="least",
        sort="missed_share",
        help="structures in only one of prediction and truth, of all",
    ),
    Column("missed_share", ""),
    Column("note", "Note", "text long", help="rows with a class that some runs never find are in no rank and no comparison"),
    Column("used", "Labels used", "text", help="where the labels of validation cases chose the weights: how many they are"),
    Column("runs", "Runs", "text", help="done, of all asked for"),
    Column("network", "Network", "text", told=True),
    Column("parameters", "Parameters, M", digits=2, best="least", told=True),
    Column("passes", "Passes", digits=1, best="least", help="images through networks per image of a batch, in a training step"),
    Column("time", "Time", "text", best="least", sort="seconds", help="of a run; mean, over several machines where it says so"),
    Column("seconds", ""),
    Column("memory", "Memory, MB", digits=0, best="least", help="most that a run took"),
    Column("tuning", "Tuning", "text", help="what finding the hyper-parameters took"),
    Column("published", "Published DSC %", "text long", help="what papers report, surest and comparable first"),
    Column("verdict", "Against published", "text", help="of the first published number, by the runs of draw 0"),
    Column("protocol", "Protocol", "text", told=True),
    Column("test_set", "Test set", "text", told=True),
    Column("selection", "Weights", "text", told=True, help="last, or val: those that did best on the validation cases"),
    Column("track", "Hyper-parameters", "text", told=True),
]
TASK = ["dataset", "test_set", "protocol", "track"]
"""What rows of one table share."""

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
} | {metric.upper(): [metric, *(column.key for column in _judgement(metric, ""))] for metric in ("hd95", "assd", "nsd")}
