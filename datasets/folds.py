"""Cross-validation for data without a test set: folds over all labelled cases, so that each is test once.

Folds come first: budgets and draws are of what is left in each to train on. Nothing validates, for few labelled cases can spare none. The
SHA-256 of names alone fixes which case is in which fold.
"""

from __future__ import annotations

import hashlib
from copy import copy
from functools import lru_cache

from benchmark.ground.errors import BadInput, quoted
from datasets.checks import where
from datasets.dataset import Dataset, Split
from datasets.prepared import Prepared

Fold = tuple[int, int]
"""Its number, from 0, and how many there are."""

TEST_SET = "folds"


def folds_of(dataset: Dataset, asked: str | None) -> int | None:
    """How many folds ``--folds`` asks for (a number, or ``loo``: one for each labelled case); None where it does not.

    Raises:
        BadInput: the data has a test set and folds are asked for, or it has none and they are not; a number that cannot be.
    """
    cases = len(_pool(dataset))
    if asked is None:
        if not any(dataset.split.tests.values()):
            raise BadInput(
                f"{where(dataset)} has {cases} labelled cases and no test case; expected some to test on; add them, or cross-validate:"
                " --folds loo (each labelled case is test once) or --folds 5"
            )
        return None
    if dataset.has_test_set:
        tests = sum(map(len, dataset.split.tests.values()))
        raise BadInput(
            f"--folds: {where(dataset)} has a test set ({tests} cases); expected data without one; leave --folds out"
        )
    number = asked.isascii() and asked.isdecimal() and len(asked) < 10
    count = cases if asked == "loo" else int(asked) if number else 0
    if not 2 <= count <= cases:
        raise BadInput(
            f"--folds: found {quoted(asked)}; expected loo, or a number from 2 to {cases}, the number of labelled cases"
        )
    return count


def fewest_training(dataset: Dataset, folds: int | None) -> int:
    """Of how many cases a draw can label some, in every fold."""
    if folds is None:
        return len(dataset.split.train)
    return min(len(fold_split(dataset, (number, folds)).train) for number in range(folds))


def fold_split(dataset: Dataset, fold: Fold) -> Split:
    """The split of a fold: its cases test, all other labelled ones may train, in an order that names alone fix."""
    number, of = fold
    pool = _pool(dataset)
    tests = pool[number::of]
    return Split(tuple(case for case in pool if case not in tests), (), {TEST_SET: tests}, dataset.split.unlabelled)


def _pool(dataset: Dataset) -> tuple[str, ...]:
    """All labelled cases, in the order of the SHA-256 of their names."""
    split = dataset.split
    tests = () if dataset.has_test_set else tuple(case for cases in split.tests.values() for case in cases)
    cases = (*split.train, *split.val, *tests)
    return tuple(sorted(cases, key=lambda case: hashlib.sha256(f"{dataset.name}/folds/{case}".encode()).digest()))


@lru_cache(maxsize=16)
def folded(dataset: Prepared, fold: Fold | None) -> Prepared:
    """The dataset with the split of a fold; as it is for None. Its hash is that of the whole data."""
    if fold is None:
        return dataset
    view = copy(dataset)
    view.__dict__.pop("_with_classes", None)
    view.manifest = dataset.manifest.model_copy(update={"split": fold_split(dataset, fold)})
    return view
