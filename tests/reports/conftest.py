"""A grid of made-up records."""

import numpy as np
import pytest

from tests.reports.made_up_records import cell, failed, make_records, scores


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
