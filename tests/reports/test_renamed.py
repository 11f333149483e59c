"""One method trained with five seeds, its runs called different methods: real numbers in which there is nothing to find.

five_seeds.csv: mean DSC of each test case of the phantom, ``run --methods supervised --labels 3 --draws 0 --seeds 0,1,2,3,4 --protocol
quick``, last weights.
"""

import itertools
from pathlib import Path

import pandas as pd
from scipy import stats

from reports.page.words import in_words
from reports.tables.comparison import OPEN, UNTESTED, Field, fields
from tests.reports.made_up_records import cell, make_records, scores

SEEDS = pd.read_csv(Path(__file__).with_name("five_seeds.csv"), index_col="case")


def renamed(groups: list[tuple[str, ...]]) -> Field:
    """Each group of seeds as the runs of a method of its own."""
    cells, rows = [], []
    for number, group in enumerate(groups):
        for run, seed in enumerate(group):
            cells.append(cell("supervised" if not number else f"again{number}", run=run))
            rows += scores(cells[-1], SEEDS[seed].to_dict(), volumes=1, classes=("organ",))
    (field,) = fields(make_records(cells, rows))
    return field


def test_cases_alone_would_find_differences() -> None:
    p = [stats.wilcoxon(SEEDS[a], SEEDS[b]).pvalue for a, b in itertools.combinations(SEEDS, 2)]
    assert sum(one < 0.05 for one in p) == 5


def test_five_seeds_as_five_methods_are_no_verdict() -> None:
    field = renamed([(seed,) for seed in SEEDS])
    assert set(field.against("supervised")["verdict"]) == {UNTESTED}
    (line,) = in_words([field], "supervised")
    assert "cannot be tested, one run" in line and "better" not in line and "worse" not in line


def test_two_seeds_each_as_two_methods_cannot_be_told_apart() -> None:
    said = []
    for first in itertools.combinations(SEEDS, 2):
        for second in itertools.combinations([seed for seed in SEEDS if seed not in first], 2):
            field = renamed([first, second])
            said += field.against("supervised")["verdict"].tolist()
    assert len(said) == 30 and set(said) == {OPEN}
    assert "cannot be told apart" in in_words([field], "supervised")[0]
