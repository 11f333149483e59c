"""Which training cases are labelled: draw 0 is the field's canonical list, draws 1 to 9 are random.

All draws are nested: the cases of a smaller budget are labelled in every larger one. A random draw orders the cases by the
SHA-256 of the text ``dataset/draw/case``, so names alone fix it, on every machine and in every version of every library, and
the cases of a subset keep the order that they have in the whole (within their group, where groups are known). For the whole of
acdc, synapse and phantom the orders are listed in ``draws/*.txt``: a line per draw, a budget of n is its first n cases.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from benchmark.ground.errors import BadInput
from datasets.dataset import Split

DRAWS = range(10)
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


def labelled_cases(
    dataset: str, train: tuple[str, ...], budget: int, draw: int, groups: dict[str, str] | None = None
) -> tuple[str, ...]:
    """The ``budget`` cases that are labelled, in the draw's order.

    train: the training cases in canonical order.
    groups: stratum (e.g. pathology) of each case, where known. Random draws then take one case of every group before a second
        of any; cases without a group form a group of their own.

    Raises:
        BadInput: no such draw, a budget below 1 or above the number of training cases.
    """
    if draw not in DRAWS:
        raise BadInput(f"draw {draw} does not exist; draws are 0 (canonical) and 1 to {DRAWS[-1]} (random, nested)")
    if not 1 <= budget <= len(train):
        raise BadInput(f"cannot label {budget} cases: {dataset} has {len(train)} training cases; ask for 1 to {len(train)}")
    order = train if draw == 0 else _random_order(dataset, train, draw, groups or {})
    return order[:budget]


def split_by_name(dataset: str, cases: Iterable[str], published: tuple[str, ...] = ()) -> Split:
    """For data without a published split: 20 % of the cases test and 10 % validate, at least one each where there are three or more; the
    SHA-256 of names orders all.

    published: the test cases, where these are published; of the others 10 % validate then, where there are two or more.
    """
    order = sorted(cases, key=lambda case: hashlib.sha256(f"{dataset}/{case}".encode()).digest())
    test, val = (max(1, round(share * len(order))) for share in (TEST_SHARE, VALIDATION_SHARE))
    if published:
        val = min(val, len(order) - 1)
        return Split(tuple(order[val:]), tuple(order[:val]), {"test": published})
    val = max(0, min(val, len(order) - test - 1))
    return Split(tuple(order[test + val :]), tuple(order[test : test + val]), {"test": tuple(order[:test])})


def _random_order(dataset: str, train: tuple[str, ...], draw: int, groups: dict[str, str]) -> tuple[str, ...]:
    def rank(case: str) -> bytes:
        return hashlib.sha256(f"{dataset}/{draw}/{case}".encode()).digest()

    taken: Counter[str | None] = Counter()
    rounds = {}
    for case in sorted(train, key=rank):
        group = groups.get(case)
        rounds[case] = taken[group]
        taken[group] += 1
    return tuple(sorted(train, key=lambda case: (rounds[case], rank(case))))
