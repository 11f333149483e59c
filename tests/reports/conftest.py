"""A grid of made-up records."""

import numpy as np
import pytest

from reports.writing.report import write_report
from tests.reports.made_up_records import cell, failed, made_up, make_records, scores


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A report on what is made up: two datasets, four methods, two budgets, tuned and untuned, one failed and one unfinished cell."""
    out = tmp_path_factory.mktemp("report")
    write_report(made_up(), out)
    return out


@pytest.fixture
def grid():
    """Three variants at 1, 3 and 28 labelled cases, three runs each, ten test cases; one of the cells failed."""
    rng = np.random.default_rng(0)
    cells, cases = [], []
    for variant, start in [("supervised", 0.45), ("cps", 0.5), ("cctr[rsl=false]", 0.6)]:
        for labels, gain in [(1, 0.0), (3, 0.1), (28, 0.25)]:
            for run in range(3):
                if (variant, labels, run) == ("cps", 3, 2):
                    cells.append(failed(variant=variant, labels=labels, run=run))
                    continue
                cells.append(cell(variant, labels, run))
                values = start + gain + rng.normal(0, 0.03) + rng.normal(0, 0.08, 10)
                cases += scores(cells[-1], {f"case{i}": value for i, value in enumerate(values)})
    return make_records(cells, cases)
